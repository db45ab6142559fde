import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import type { RotationError } from '../rotation/failure.ts';
import { readComposeDefinition } from './compose-definition.ts';
import { composeFindings } from './compose-findings.ts';
import { createComposeProject, readMs, upOptions } from './compose-project.ts';
import { describe, isSettled, stateOf, unknownState } from './compose-state.ts';
import type { ComposeLook } from './compose-state.ts';
import { createDockerEngine, engineUnreachable, isUp } from './docker-engine.ts';
import type { Container } from './docker-engine.ts';
import { describeOutcome, succeeded } from './host.ts';
import type { GivenValue, Service } from './port.ts';
import { givenValues, parseEnviron } from './process-environment.ts';
import { lookUntil, pause, settleMs } from './waiting.ts';

export interface DockerComposeServiceOptions {
  /** Where the compose file is; relative paths in it start here. */
  readonly projectDirectory: string;
  /** Compose files, the later over the earlier. @default compose's own choice in the project directory */
  readonly files?: readonly string[];
  /** @default compose's own choice: `name:` in the file, or the directory's name */
  readonly projectName?: string;
  readonly service: string;
  /** Files that the rotation writes and the service must read, in reading order. */
  readonly envFiles?: readonly string[];
  /** The program. @default docker */
  readonly docker?: string;
  /** Added to PATH and HOME, such as DOCKER_HOST, and what the compose file takes from the shell with `${...}`. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Milliseconds. @default what the healthcheck needs to say `unhealthy`, and at least 2 min */
  readonly startTimeoutMs?: number;
  /** Milliseconds. @default the container's stop_grace_period plus 30 s */
  readonly stopTimeoutMs?: number;
  /** Names of the variables that hold the keys. @default LITELLM_MASTER_KEY, LITELLM_SALT_KEY */
  readonly variables?: readonly string[];
}

const marginMs = 30_000;
const upMs = 120_000;
const stoppedMs = 5_000;

/**
 * LiteLLM as one service of a compose project. A container keeps the environment that it was made with, so a start makes
 * a new one; `docker compose restart` would bring the previous keys up again. Seen with compose 2.40 and engine 20.10.
 */
export function createDockerComposeService(options: DockerComposeServiceOptions): Service {
  const { service, projectDirectory } = options;
  const engine = createDockerEngine(options.docker ?? 'docker', projectDirectory, options.environment ?? {});
  const project = createComposeProject(options, engine);
  const { look, failure } = project;
  const description = `compose service ${service} in ${projectDirectory}`;

  return {
    description,

    async inspect(added) {
      const definition = await readComposeDefinition(engine, project.args, service);
      const version = await engine.version();
      if (!succeeded(version)) {
        return { findings: [engineUnreachable(description, version)], state: unknownState };
      }
      const seen: ComposeLook =
        typeof definition === 'string' ? { containers: [], oneOffs: [] } : await look();
      const running = seen.containers.find(isUp);
      // Without `image:`, compose names what it builds after project and service.
      const image =
        typeof definition === 'string'
          ? undefined
          : (definition.service?.image ?? `${definition.project}-${service}`);
      const findings = composeFindings(definition, {
        service,
        projectDirectory,
        compose: project.command,
        envFiles: (options.envFiles ?? []).map((path) => resolve(projectDirectory, path)),
        realPath,
        added,
        variables: options.variables ?? ['LITELLM_MASTER_KEY', 'LITELLM_SALT_KEY'],
        given: Object.keys(options.environment ?? {}),
        running,
        wouldRecreate: running !== undefined && (await project.wouldRecreate()),
        image: image === undefined ? undefined : await project.imageId(image),
      });
      return { findings, state: stateOf(seen) };
    },

    async observe() {
      return stateOf(await look());
    },

    async stop(fence, signal) {
      const before = await look();
      const up = [...before.containers, ...before.oneOffs].filter(isUp);
      if (up.length === 0) return stateOf(before);
      if (before.containers.some(isUp)) {
        const timeoutMs = options.stopTimeoutMs ?? Math.max(...up.map(({ stopMs }) => stopMs)) + marginMs;
        await fence.assert();
        const outcome = await engine.run([...project.args, 'stop', service], timeoutMs, signal);
        if (!succeeded(outcome)) {
          throw failure(
            `\`${project.command} stop ${service}\` ${describeOutcome(outcome, timeoutMs)} and the service is ${describe(await look())}; ` +
              'expected it to stop; the engine may still be at it, and the next attempt looks first',
            up[0],
          );
        }
      }
      const isStopped = ({ containers, oneOffs }: ComposeLook): boolean =>
        ![...containers, ...oneOffs].some(isUp);
      const after = await lookUntil(look, isStopped, { timeoutMs: stoppedMs, signal });
      if (!isStopped(after)) {
        throw failure(
          `after its stop, the service is ${describe(after)}; expected no container of it to run; ` +
            (after.oneOffs.some(isUp)
              ? 'end what `docker compose run` has started'
              : 'find out what starts it, and stop that first'),
          up[0],
        );
      }
      return stateOf(after);
    },

    async start(fence, signal) {
      const before = await look();
      if (!before.containers.some(isUp)) {
        await fence.assert();
        // Not `--wait`: without a healthcheck it is content with a container that has exited.
        const up = ['up', '--force-recreate', ...upOptions, service];
        const outcome = await engine.run([...project.args, ...up], upMs, signal);
        if (!succeeded(outcome)) {
          throw failure(
            `\`${project.command} up ${service}\` ${describeOutcome(outcome, upMs)} and the service is ${describe(await look())}; ` +
              `expected a running container; run it by hand in ${projectDirectory} to see what it says`,
          );
        }
      }
      const running = await settled(signal);
      // What a killed compose leaves: made or stopped, never started again, under a name with the old id in front.
      const leftovers = (await look()).containers.filter(
        ({ id, status }) => id !== running.id && status !== 'running',
      );
      for (const { id, status } of leftovers.filter((left) =>
        ['created', 'exited', 'dead'].includes(left.status),
      )) {
        await fence.assert();
        // Without --force, so that it fails for a container that has come up since.
        const removed = await engine.run(['rm', id], readMs, signal);
        if (!succeeded(removed) && (await look()).containers.some((left) => left.id === id)) {
          throw failure(
            `container ${id.slice(0, 12)} (${status}) is a leftover of ${service} and could not be removed; expected one container`,
          );
        }
      }
      return stateOf({ containers: [running], oneOffs: [] });
    },

    async environment(names) {
      const { containers } = await look();
      const up = containers.filter(isUp);
      if (up.length === 0) return new Map(names.map((name): [string, GivenValue] => [name, 'unknown']));
      return givenValues(
        names,
        up.map(({ environment }) => parseEnviron(Buffer.from(environment.join('\0')))),
      );
    },

    // A published port is the engine's, which runs as root.
    strangers: () => Promise.resolve([]),

    // What the instance is, the workflow says, and so whoever can write to Temporal: no other container's log is for them.
    async log(instance, lines) {
      const { containers } = await look();
      return containers.some(({ id }) => id === instance) ? engine.log(instance, lines) : undefined;
    },
  };

  /** Waits until one container runs, is healthy if that can be told, and has stayed the same start for a moment. */
  async function settled(signal: AbortSignal): Promise<Container> {
    const first = await look();
    const timeoutMs =
      options.startTimeoutMs ??
      Math.max(upMs, ...first.containers.map(({ healthMs }) => healthMs + marginMs));
    const done = ({ containers }: ComposeLook): boolean =>
      containers.filter(isUp).length !== 1 || containers.some(isSettled);
    const seen = await lookUntil(look, done, { timeoutMs, everyMs: 300, signal });
    const up = seen.containers.find(isSettled);
    const began = up ?? first.containers.find(isUp) ?? seen.containers[0];
    const fail = (found: ComposeLook, when: string): RotationError =>
      failure(
        `${when}, the service is ${describe(found)}; expected one container running${began?.health === undefined ? '' : ' and healthy'}; ` +
          `read \`docker logs ${began?.id.slice(0, 12) ?? service}\``,
        began,
      );
    if (up === undefined || up.health === 'unhealthy' || up.status !== 'running')
      throw fail(seen, 'after its start');
    await pause(settleMs, signal);
    const again = await look();
    const same = again.containers.find(({ id }) => id === up.id);
    const isSame =
      same?.status === 'running' && same.startedAt === up.startedAt && same.restarts === up.restarts;
    if (!isSame || again.containers.filter(isUp).length !== 1) throw fail(again, 'a moment after its start');
    return same;
  }
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
