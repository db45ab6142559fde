import { RotationError, failureTypes } from '../rotation/failure.ts';
import type { Finding } from '../rotation/finding.ts';
import { describeOutcome, run, succeeded } from './host.ts';
import type { Outcome } from './host.ts';

/** One container of a compose service, as `docker inspect` tells it. */
export interface Container {
  readonly id: string;
  readonly name: string;
  /** `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`. */
  readonly status: string;
  readonly exitCode: number;
  readonly outOfMemory: boolean;
  readonly startedAt: string;
  readonly restarts: number;
  /** Undefined without a healthcheck. */
  readonly health: 'starting' | 'healthy' | 'unhealthy' | undefined;
  /** Until a healthcheck that never succeeds says `unhealthy`, in milliseconds; 0 without one. */
  readonly healthMs: number;
  /** Until SIGKILL follows the stop signal, in milliseconds. */
  readonly stopMs: number;
  /** The digest of the image that it was made from. */
  readonly image: string;
  /** `NAME=value`: holds secrets. */
  readonly environment: readonly string[];
  /** Made by `docker compose run`, beside the service. */
  readonly isOneOff: boolean;
}

/** The `docker` program, with the environment that leads it to its engine. */
export interface DockerEngine {
  run(args: readonly string[], timeoutMs: number, signal?: AbortSignal): Promise<Outcome>;
  /** The containers of a service, found by compose's labels: a killed compose leaves them under other names. */
  containers(project: string, service: string): Promise<readonly Container[]>;
  /** Fails when no engine answers. */
  version(): Promise<Outcome>;
  /** The last lines that a container has written; undefined when it is gone. */
  log(container: string, lines: number): Promise<readonly string[] | undefined>;
}

const lookMs = 30_000;
const nanosecondsPerMs = 1_000_000;

export function createDockerEngine(
  docker: string,
  cwd: string,
  environment: Readonly<Record<string, string>>,
): DockerEngine {
  const engine: DockerEngine = {
    run: (args, timeoutMs, signal) => run(docker, args, { timeoutMs, signal, cwd, environment }),

    async containers(project, service) {
      const labels = [`com.docker.compose.project=${project}`, `com.docker.compose.service=${service}`];
      const filters = labels.flatMap((label) => ['--filter', `label=${label}`]);
      let last: Outcome | undefined;
      // A container that goes away between the two calls makes the second fail.
      for (let attempt = 0; attempt < 3; attempt += 1) {
        last = await engine.run(['ps', '--all', '--quiet', '--no-trunc', ...filters], lookMs);
        if (!succeeded(last)) break;
        const ids = last.stdout.split('\n').filter(Boolean);
        if (ids.length === 0) return [];
        last = await engine.run(['inspect', '--type', 'container', ...ids], lookMs);
        if (succeeded(last)) return parseContainers(last.stdout);
      }
      throw new RotationError(
        failureTypes.serviceFailed,
        `docker ${last === undefined ? 'did not run' : describeOutcome(last, lookMs)} when asked for the containers of ` +
          `${project}/${service}; expected an engine that answers; check \`docker ps\` as the user of the worker`,
      );
    },

    version: () => engine.run(['version', '--format', '{{.Server.Version}}'], lookMs),

    async log(container, lines) {
      const outcome = await engine.run(['logs', '--timestamps', '--tail', String(lines), container], lookMs);
      if (!succeeded(outcome)) return undefined;
      // The two streams come apart; the timestamps have a fixed width, so they put the lines back in order.
      const written = `${outcome.stdout}\n${outcome.stderr}`
        .split('\n')
        .filter(Boolean)
        .toSorted(byTimestamp);
      return written.map((line) => line.slice(line.indexOf(' ') + 1)).slice(-lines);
    },
  };
  return engine;
}

export function engineUnreachable(where: string, version: Outcome): Finding {
  return {
    severity: 'blocking',
    code: 'docker-unreachable',
    where,
    found: `that \`docker version\` ${describeOutcome(version, lookMs)}`,
    expected: 'an engine that answers',
    next: 'run `docker version` as the user of the worker; set DOCKER_HOST in the environment of this service',
  };
}

function byTimestamp(one: string, other: string): number {
  const [a, b] = [one.slice(0, 30), other.slice(0, 30)];
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The parts of `docker inspect` (Engine API 1.41) that are read. State.Health is missing without a healthcheck. */
interface Inspected {
  readonly Id: string;
  readonly Name: string;
  readonly Image: string;
  readonly RestartCount: number;
  readonly State: {
    readonly Status: string;
    readonly ExitCode: number;
    readonly OOMKilled: boolean;
    readonly StartedAt: string;
    readonly Health?: { readonly Status: string } | null;
  };
  readonly Config: {
    readonly Env: readonly string[] | null;
    readonly Labels: Readonly<Record<string, string>> | null;
    readonly StopTimeout?: number | null;
    /** Nanoseconds. */
    readonly Healthcheck?: {
      readonly Interval?: number;
      readonly Timeout?: number;
      readonly StartPeriod?: number;
      readonly Retries?: number;
    } | null;
  };
}

export function parseContainers(inspected: string): Container[] {
  return (JSON.parse(inspected) as Inspected[]).map(({ Id, Name, Image, RestartCount, State, Config }) => {
    const health = State.Health?.Status;
    const labels = Config.Labels ?? {};
    return {
      id: Id,
      name: Name.replace(/^\//, ''),
      status: State.Status,
      exitCode: State.ExitCode,
      outOfMemory: State.OOMKilled,
      startedAt: State.StartedAt,
      restarts: RestartCount,
      health: health === 'starting' || health === 'healthy' || health === 'unhealthy' ? health : undefined,
      healthMs: healthMs(Config.Healthcheck),
      stopMs: (Config.StopTimeout ?? 10) * 1000,
      image: Image,
      environment: Config.Env ?? [],
      isOneOff: labels['com.docker.compose.oneoff'] === 'True',
    };
  });
}

// Docker's own defaults: every 30 s, 30 s for a check, 3 retries.
function healthMs(check: Inspected['Config']['Healthcheck']): number {
  if (check === undefined || check === null) return 0;
  const thirty = 30_000 * nanosecondsPerMs;
  const each = (check.Interval || thirty) + (check.Timeout || thirty);
  return ((check.StartPeriod ?? 0) + each * (check.Retries || 3)) / nanosecondsPerMs;
}

/** It may still write: paused and restarting containers come back by themselves. */
export function isUp({ status }: Container): boolean {
  return ['running', 'paused', 'restarting', 'removing'].includes(status);
}

/** `exited with 3`: in words, without the engine's own error text, which quotes the command. */
export function describeContainer(container: Container): string {
  const { status, exitCode, health, restarts, outOfMemory } = container;
  const name = `container ${container.id.slice(0, 12)}`;
  const again = restarts > 0 ? `, restarted ${restarts} times` : '';
  if (status === 'exited' || status === 'dead') {
    const meaning = outOfMemory
      ? ' (out of memory)'
      : ({ 3: ', which is how LiteLLM refuses to boot', 127: ' (its command was not found)' }[exitCode] ??
        '');
    return `${name} exited with ${exitCode}${meaning}${again}`;
  }
  if (status === 'running')
    return `${name} running${health === undefined ? '' : `, ${health}`}, since ${container.startedAt}${again}`;
  return `${name} ${status}${again}`;
}
