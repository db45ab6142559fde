import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureLiteLLM } from './install.ts';
import { emptyConfig } from './proxy.ts';

export interface ServiceOptions {
  /** A directory for the description, pid file, log and configuration; made when it is not there. */
  readonly directory: string;
  /** Sourced in this order before each start. They have to give DATABASE_URL and the keys. */
  readonly envFiles: readonly string[];
  readonly port: number;
  /** The text of config.yaml. @default one with no models */
  readonly config?: string;
  /** Further variables that are no secret. */
  readonly extraEnv?: Readonly<Record<string, string>>;
}

/** A LiteLLM that the `service` script drives. */
export interface LiteLLMService {
  /** The script; each command is `[script, verb, description]`. */
  readonly script: string;
  readonly description: string;
  readonly url: string;
  readonly log: string;
  readonly pidFile: string;
  /** The argument vector of a verb. `exec` runs it in the foreground with the caller's environment, for a unit's ExecStart=. */
  command(verb: 'start' | 'stop' | 'status' | 'exec'): string[];
}

/** Writes the description of a service, so that the script, a unit file or a command adapter can drive it. Starts nothing. */
export async function describeLiteLLMService(options: ServiceOptions): Promise<LiteLLMService> {
  const install = await ensureLiteLLM();
  const { directory } = options;
  await mkdir(directory, { recursive: true });
  const [config, description, log, pidFile] = [
    join(directory, 'config.yaml'),
    join(directory, 'service.conf'),
    join(directory, 'litellm.log'),
    join(directory, 'litellm.pid'),
  ];
  await writeFile(config, options.config ?? emptyConfig);
  const lines = [
    ...options.envFiles.map((file) => `ENV_FILE=${file}`),
    ...Object.entries({ ...install.env, ...options.extraEnv }).map(
      ([name, value]) => `PASS=${name}=${value}`,
    ),
    `PYTHON=${install.python}`,
    `LITELLM=${install.bin}`,
    `CONFIG=${config}`,
    `PORT=${options.port}`,
    `HOME_DIRECTORY=${directory}`,
    `PIDFILE=${pidFile}`,
    `LOG=${log}`,
  ];
  await writeFile(description, `${lines.join('\n')}\n`, { mode: 0o600 });
  await chmod(description, 0o600);
  const script = fileURLToPath(new URL('service', import.meta.url));
  return {
    script,
    description,
    url: `http://127.0.0.1:${options.port}`,
    log,
    pidFile,
    command: (verb) => [script, verb, description],
  };
}
