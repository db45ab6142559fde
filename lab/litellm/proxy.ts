import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, startChild, untilReady } from '../child.ts';
import { untilStopped } from '../cleanup.ts';
import { ensureLiteLLM } from './install.ts';

export interface LiteLLMOptions {
  readonly databaseUrl: string;
  readonly masterKey: string;
  /** LITELLM_SALT_KEY; left out, it is not in the environment (an empty one counts as set). */
  readonly saltKey?: string;
  /** @default a free one */
  readonly port?: number;
  /** The path of a config.yaml. @default one with no models */
  readonly config?: string;
  /** Further variables, such as PROXY_CONFIG_RELOAD_INTERVAL_SECONDS (how often it reads the database; @default 30). */
  readonly extraEnv?: Readonly<Record<string, string>>;
  /** Where its output goes, appended. @default a file that `stop` removes */
  readonly log?: string;
}

/** A running proxy, on 127.0.0.1 only. */
export interface LiteLLM {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly log: string;
  stop(): Promise<void>;
}

/** Models and settings live in the database. */
export const emptyConfig = 'model_list: []\ngeneral_settings:\n  store_model_in_db: true\n';

/** The command line of a proxy, without any key: those are in its environment. */
export function litellmArguments(bin: string, config: string, port: number): string[] {
  return [bin, '--config', config, '--host', '127.0.0.1', '--port', `${port}`];
}

/**
 * Starts a proxy and waits until it is ready: 8 to 15 s.
 *
 * @throws with the last lines of its log when it ends before, or is not ready in three minutes
 */
export async function startLiteLLM(options: LiteLLMOptions): Promise<LiteLLM> {
  const install = await ensureLiteLLM();
  const home = await mkdtemp(join(tmpdir(), 'litellm-rotate-litellm-'));
  const log = options.log ?? join(home, 'log');
  const config = options.config ?? join(home, 'config.yaml');
  if (options.config === undefined) await writeFile(config, emptyConfig);
  const port = options.port ?? (await freePort());
  const env = {
    ...install.env,
    HOME: home,
    DATABASE_URL: options.databaseUrl,
    LITELLM_MASTER_KEY: options.masterKey,
    ...(options.saltKey === undefined ? {} : { LITELLM_SALT_KEY: options.saltKey }),
    ...options.extraEnv,
  };
  const child = await startChild(install.python, litellmArguments(install.bin, config, port), {
    env,
    log,
    cwd: home,
    deathSignal: 'TERM',
  });
  const stop = untilStopped(
    async () => {
      await child.stop('SIGTERM', 20_000);
      await rm(home, { recursive: true, force: true });
    },
    () => child.abandon(),
  );
  const url = `http://127.0.0.1:${port}`;
  try {
    await untilReady('litellm', child, log, 180_000, () => isReady(url));
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, port, pid: child.pid, log, stop };
}

/** Whether a proxy serves and has its database. Says nothing about its keys: it never tries to decrypt. */
export async function isReady(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/health/readiness`, { signal: AbortSignal.timeout(2000) });
  return answer.ok && ((await answer.json()) as { db?: unknown }).db === 'connected';
}
