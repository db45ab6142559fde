import { join } from 'node:path';
import type { Finding } from '../rotation/finding.ts';
import { envFileFindings } from './env-file-findings.ts';
import type { ComposeDefinition, ComposeService } from './compose-definition.ts';

/** What preflight needs to know besides the definition. */
export interface ComposeContext {
  readonly service: string;
  readonly projectDirectory: string;
  /** `docker compose -f ...`: for the commands in `next`. */
  readonly compose: string;
  /** The files that the rotation writes, in the order in which they must be read; resolved. */
  readonly envFiles: readonly string[];
  readonly realPath: (path: string) => string;
  /** The names of the variables that hold the keys. */
  readonly variables: readonly string[];
  /** The name of a variable that the rotation adds beside the master key. */
  readonly added: string | undefined;
  /** Names of the variables that our configuration gives to compose. */
  readonly given: readonly string[];
  /** Of the container that runs, if one does. */
  readonly running: { readonly image: string } | undefined;
  /** Whether a plain `up` would replace that container. */
  readonly wouldRecreate: boolean;
  /** The digest that the definition's image name stands for now; undefined when the image is not there. */
  readonly image: string | undefined;
}

/** What stands in the way of a rotation through this compose service. */
export function composeFindings(definition: ComposeDefinition, context: ComposeContext): Finding[] {
  const { service: name, compose } = context;
  if (definition === 'compose too old') {
    return [
      {
        severity: 'blocking',
        code: 'compose-too-old',
        where: name,
        found: 'a docker compose without `config --no-env-resolution`',
        expected: 'one that shows which env files a service reads, as 2.40 does',
        next: 'upgrade the compose plugin',
      },
    ];
  }
  if (definition === 'invalid') {
    return [
      {
        severity: 'blocking',
        code: 'compose-file-invalid',
        where: context.projectDirectory,
        found: 'that docker compose cannot read the definition',
        expected: 'a valid compose file',
        next: `\`${compose} config --quiet\` in that directory says why`,
      },
    ];
  }
  if (definition.service === undefined) {
    return [
      {
        severity: 'blocking',
        code: 'compose-service-unknown',
        where: name,
        found: `the services ${definition.services.join(', ') || 'none'}`,
        expected: `${name} among them`,
        next: 'correct the service name in the configuration',
      },
    ];
  }
  return [
    ...filesFindings(definition.service, context),
    ...environmentFindings(definition.service, context),
    ...addedFindings(definition.service, context),
    ...recreateFindings(definition.service, context),
  ];
}

function filesFindings(service: ComposeService, context: ComposeContext): Finding[] {
  const { realPath, projectDirectory, variables, envFiles } = context;
  // Compose reads it for `${...}`, whether or not it is an env_file.
  const dotenv = realPath(join(projectDirectory, '.env'));
  const isInterpolated = variables.some((variable) => service.environment.get(variable) === 'interpolated');
  return envFileFindings({
    where: context.service,
    setting: 'env_file:',
    read: service.envFiles.map(({ path, required }) => ({ path, optional: !required })),
    written: envFiles,
    otherwiseRead: isInterpolated ? envFiles.filter((path) => realPath(path) === dotenv) : [],
    realPath,
    add: (path) => `add ${path} under env_file: of ${context.service} in the compose file`,
    require: 'take `required: false` away in the compose file',
  });
}

function environmentFindings(
  { environment, unsetVariables }: ComposeService,
  context: ComposeContext,
): Finding[] {
  const { service: name, envFiles, realPath, projectDirectory, variables } = context;
  const hasDotenv = envFiles.map(realPath).includes(realPath(join(projectDirectory, '.env')));
  const findings = variables.flatMap((variable): Finding[] => {
    const origin = environment.get(variable);
    if (origin === undefined || (origin === 'interpolated' && hasDotenv)) return [];
    return [
      {
        severity: 'blocking',
        code: 'key-in-compose-file',
        where: name,
        found: `environment: with ${variable}${origin === 'literal' ? '' : ' from a ${...}'}, which beats every env_file`,
        expected: 'the key in a file that the rotation writes',
        next:
          origin === 'literal'
            ? `take ${variable} out of environment: and put it in a file under env_file:`
            : `take ${variable} out of environment:, or list ${join(projectDirectory, '.env')} in the files of this target, with reader: docker-compose`,
      },
    ];
  });
  for (const variable of variables.filter((key) => context.given.includes(key))) {
    findings.push({
      severity: 'blocking',
      code: 'key-in-configuration',
      where: name,
      found: `${variable} in the environment of this service in the configuration, where it beats .env`,
      expected: 'the key in the secret store only',
      next: `take ${variable} out of the configuration`,
    });
  }
  if (unsetVariables.length > 0) {
    findings.push({
      severity: 'blocking',
      code: 'compose-variable-unset',
      where: name,
      found: `no value for ${unsetVariables.join(', ')}, which would be empty in the new container`,
      expected: 'the values that the running container was made with',
      next: `define them in ${join(projectDirectory, '.env')}, or in the environment of this service in the configuration`,
    });
  }
  return findings;
}

/** Through `${...}`, a .env file hands over the variables that are named in the compose file, and no other. */
function addedFindings({ environment, envFiles }: ComposeService, context: ComposeContext): Finding[] {
  const { service: name, added, realPath, projectDirectory, variables } = context;
  if (added === undefined || environment.has(added)) return [];
  const path = join(projectDirectory, '.env');
  const isDotenv = (file: string): boolean => realPath(file) === realPath(path);
  const isInterpolated = variables.some((variable) => environment.get(variable) === 'interpolated');
  const isReadWhole = envFiles.some((file) => isDotenv(file.path));
  if (!context.envFiles.some(isDotenv) || !isInterpolated || isReadWhole) return [];
  return [
    {
      severity: 'blocking',
      code: 'key-not-handed-over',
      where: name,
      found: `no ${added} under environment:, so that the one which the rotation adds to ${path} would not reach the new container`,
      expected: `${added} handed over: LiteLLM could not open its database without it`,
      // An empty salt key counts as one, and everybody can compute what is sealed with it.
      next: `add ${path} under env_file: of ${name}, or the name ${added} alone under environment: (not \${${added}:-}, which hands over an empty one until then); or rotate the master key only`,
    },
  ];
}

function recreateFindings(service: ComposeService, context: ComposeContext): Finding[] {
  const { service: name, compose, running, wouldRecreate, image } = context;
  const findings: Finding[] = [];
  if (service.replicas !== 1) {
    findings.push({
      severity: 'blocking',
      code: 'compose-replicas',
      where: name,
      found: `${service.replicas} replicas`,
      expected: 'one: several are not supported yet',
      next: `set the replicas of ${name} to 1 for the time of the rotation`,
    });
  }
  if (image === undefined) {
    findings.push({
      severity: 'blocking',
      code: 'compose-image-missing',
      where: name,
      found: `no image ${service.image ?? 'name'} on this engine`,
      expected: 'that the image is there, because a rotation neither pulls nor builds',
      next: `\`${compose} pull ${name}\` (or build), and restart the service with it first`,
    });
  } else if (running !== undefined && running.image !== image) {
    findings.push({
      severity: 'warning',
      code: 'compose-image-moved',
      where: name,
      found: `that ${service.image} now stands for another image than the one that runs`,
      expected: 'that the restart changes the keys only',
      next: `\`${compose} up -d ${name}\` first, or accept that the rotation brings the other version up`,
    });
  } else if (wouldRecreate) {
    findings.push({
      severity: 'warning',
      code: 'compose-definition-changed',
      where: name,
      found: 'that the definition or an env file has changed since the container was made',
      expected: 'that the restart changes the keys only',
      next: `\`${compose} up -d ${name}\` first, or accept that the rotation applies the change`,
    });
  }
  if (service.restart === 'always') {
    findings.push({
      severity: 'note',
      code: 'compose-restart-always',
      where: name,
      found: 'restart: always, with which a restart of the docker daemon starts a stopped container',
      expected: 'restart: unless-stopped',
      next: 'do not restart the docker daemon during the rotation',
    });
  }
  if (!service.hasHealthcheck) {
    findings.push({
      severity: 'note',
      code: 'compose-healthcheck-missing',
      where: name,
      found: 'no healthcheck in the compose file',
      expected: 'one on /health/readiness; without it, docker calls any process running',
      next: 'nothing; the rotation asks the proxy itself',
    });
  }
  return findings;
}
