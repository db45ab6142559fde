# The worker, with the docker command line that it drives a compose service with. `docker compose build worker`.

FROM docker:28.5.2-cli AS docker

FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No package of the lockfile needs its install script; one that a stolen account adds does not run.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build

FROM node:24.21.0-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts

FROM node:24.21.0-bookworm-slim
COPY --from=docker /usr/local/bin/docker /usr/local/bin/docker
COPY --from=docker /usr/local/libexec/docker/cli-plugins/docker-compose /usr/local/libexec/docker/cli-plugins/docker-compose
COPY --chmod=0755 packaging/worker-connected.sh /usr/local/bin/worker-connected
WORKDIR /app
# Owned by root: the worker can replace neither itself nor its workflow bundle.
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json LICENSE ./
ENV NODE_ENV=production
# Compose runs it as the owner of the key file instead, who alone may replace it.
USER node
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 CMD ["worker-connected"]
# V8 would let its young generation grow by tens of MiB, and give none of it back.
ENTRYPOINT ["node", "--max-semi-space-size=8", "/app/dist/src/cli.js"]
CMD ["worker"]
