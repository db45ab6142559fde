import { succeeded } from './host.ts';
import type { DockerEngine } from './docker-engine.ts';

/** What the compose files say about one service. */
export interface ComposeService {
  readonly image: string | undefined;
  readonly replicas: number;
  readonly restart: string;
  readonly hasHealthcheck: boolean;
  /** Absolute paths, in reading order: the last one wins. */
  readonly envFiles: readonly { readonly path: string; readonly required: boolean }[];
  /** `environment:`, which beats every env file. `literal`: the value is in the compose file; else it comes from `${...}`. */
  readonly environment: ReadonlyMap<string, 'literal' | 'interpolated'>;
  /** Variables that the service's definition asks for and that have no value: they become empty. */
  readonly unsetVariables: readonly string[];
}

export type ComposeDefinition =
  | {
      readonly project: string;
      readonly services: readonly string[];
      readonly service: ComposeService | undefined;
    }
  /** Why it could not be read. */
  | 'invalid'
  | 'compose too old';

interface ConfigService {
  readonly image?: string;
  readonly restart?: string;
  readonly scale?: number;
  readonly deploy?: { readonly replicas?: number };
  readonly healthcheck?: { readonly disable?: boolean };
  readonly env_file?: readonly { readonly path: string; readonly required?: boolean }[];
  /** Uninterpolated, it stays the list that the file may have. */
  readonly environment?: Readonly<Record<string, string | null>> | readonly string[];
}

interface Config {
  readonly name: string;
  readonly services?: Readonly<Record<string, ConfigService>>;
}

const readMs = 30_000;

/**
 * Reads the definition through `docker compose config`, once with `${...}` and env files resolved and once without. The
 * first output holds secrets, and the second those that the compose file spells out: only names leave this function.
 */
export async function readComposeDefinition(
  engine: DockerEngine,
  compose: readonly string[],
  service: string,
): Promise<ComposeDefinition> {
  const resolved = await engine.run([...compose, ...config], readMs);
  const raw = await engine.run([...compose, ...config, ...unresolved], readMs);
  if (!succeeded(resolved) || !succeeded(raw)) {
    return /unknown flag/.test(raw.stderr) ? 'compose too old' : 'invalid';
  }
  const { name, services = {} } = JSON.parse(resolved.stdout) as Config;
  const found = services[service];
  const rawService = (JSON.parse(raw.stdout) as Config).services?.[service];
  return {
    project: name,
    services: Object.keys(services),
    service: found && {
      image: found.image,
      replicas: found.scale ?? found.deploy?.replicas ?? 1,
      restart: found.restart ?? 'no',
      hasHealthcheck: found.healthcheck !== undefined && found.healthcheck.disable !== true,
      // The resolved definition (compose 2.40) lists the variables of the files instead of the files.
      envFiles: (rawService?.env_file ?? []).map(({ path, required = true }) => ({ path, required })),
      environment: new Map(
        entriesOf(rawService?.environment).map(([variable, value]) => [variable, originOf(value)]),
      ),
      unsetVariables: unsetVariables(resolved.stderr, JSON.stringify(rawService ?? {})),
    },
  };
}

/**
 * The project's name, which its containers are labelled with; undefined when the compose file cannot be read. It opens
 * no env file unless the name itself has a `${...}`: a broken key file must not keep us from looking at the service.
 */
export async function readProjectName(
  engine: DockerEngine,
  compose: readonly string[],
): Promise<string | undefined> {
  for (const flags of [unresolved, []]) {
    const outcome = await engine.run([...compose, ...config, ...flags], readMs);
    if (!succeeded(outcome)) return undefined;
    const { name } = JSON.parse(outcome.stdout) as Config;
    if (!name.includes('$')) return name;
  }
  return undefined;
}

// Only the services of active profiles are listed.
const config = ['--profile', '*', 'config', '--format', 'json'];
const unresolved = ['--no-interpolate', '--no-env-resolution'];

function entriesOf(environment: ConfigService['environment'] = {}): (readonly [string, string | null])[] {
  if (!Array.isArray(environment)) return Object.entries(environment);
  return environment.map((entry: string) => {
    const [, name = entry, value = null] = /^([^=]*)=(.*)$/s.exec(entry) ?? [];
    return [name, value];
  });
}

// A bare name is handed through from .env or the environment. Compose shows it as null, or already with its value: then
// it counts as literal, which blocks a rotation that might have worked rather than letting one through that does not.
function originOf(value: string | null): 'literal' | 'interpolated' {
  return value === null || /\$[{A-Za-z_]/.test(value.replaceAll('$$', '')) ? 'interpolated' : 'literal';
}

// Compose warns about the variables of all services; ours is the only one that is made anew.
function unsetVariables(warnings: string, definition: string): string[] {
  const names = Array.from(
    warnings.matchAll(/The \\?"(\w+)\\?" variable is not set/g),
    ([, name]) => name ?? '',
  );
  return [...new Set(names)].filter((name) => new RegExp(`\\$\\{?${name}\\b`).test(definition));
}
