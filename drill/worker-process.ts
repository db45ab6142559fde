import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type Child, startChild, untilReady } from '../lab/child.ts';
import { untilStopped } from '../lab/cleanup.ts';
import { cliPath } from '../lab/worker.ts';
import { directoryVariable } from './injection.ts';

const inject = pathToFileURL(fileURLToPath(new URL('inject.ts', import.meta.url))).href;

export interface DrilledWorkerOptions {
  readonly directory: string;
  readonly config: string;
  readonly temporalAddress: string;
  readonly compileCache: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Starts `litellm-rotate worker`, its sources as they are, with the points put in by a preload. Waits until it polls. */
export async function startDrilledWorker(options: DrilledWorkerOptions): Promise<Child> {
  const { directory } = options;
  const log = join(directory, 'worker.log');
  const env = {
    ...options.env,
    PATH: process.env.PATH ?? '',
    HOME: directory,
    TMPDIR: directory,
    TEMPORAL_ADDRESS: options.temporalAddress,
    NODE_COMPILE_CACHE: options.compileCache,
    NODE_OPTIONS: `--import=${inject}`,
    [directoryVariable]: directory,
  };
  const ready = async (): Promise<number> =>
    (await readFile(log, 'utf8').catch(() => '')).split('"worker ready"').length;
  const before = await ready();
  const child = await startChild(process.execPath, [cliPath, 'worker', '--config', options.config], {
    env,
    log,
    cwd: directory,
    deathSignal: 'KILL',
  });
  untilStopped(
    () => child.stop('SIGKILL', 5_000),
    () => child.abandon(),
  );
  await untilReady('worker', child, log, 60_000, async () => (await ready()) > before);
  return child;
}
