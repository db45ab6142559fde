import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readFile } from 'node:fs/promises';
import { type Child, startChild, untilReady } from './child.ts';
import { untilStopped } from './cleanup.ts';

/** The command line, run from its sources. */
export const cliPath = fileURLToPath(new URL('../src/cli.ts', import.meta.url));

export interface WorkerOptions {
  /** Where its log goes. */
  readonly directory: string;
  readonly config: string;
  readonly temporalAddress: string;
  /** Further variables, such as the connection string that the configuration refers to. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs it elsewhere, such as in a box: what stands before `node`. */
  readonly launch?: readonly string[];
}

/** A worker process of this project. */
export interface WorkerProcess {
  readonly pid: number;
  readonly log: string;
  /** `SIGTERM` is the orderly stop. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts a worker and waits until it polls: 1 s, and some more when its workflows have to be bundled first. */
export async function startWorker(options: WorkerOptions): Promise<WorkerProcess> {
  const log = join(options.directory, 'worker.log');
  const env = {
    ...options.env,
    PATH: process.env.PATH ?? '',
    HOME: options.directory,
    TEMPORAL_ADDRESS: options.temporalAddress,
  };
  const [command, ...args] = [
    ...(options.launch ?? []),
    process.execPath,
    cliPath,
    'worker',
    '--config',
    options.config,
  ];
  const before = await linesOf(log);
  const child: Child = await startChild(command, args, {
    env,
    log,
    cwd: options.directory,
    deathSignal: 'KILL',
  });
  const stop = untilStopped(
    () => child.stop('SIGTERM', 20_000),
    () => child.abandon(),
  );
  try {
    await untilReady('worker', child, log, 60_000, async () =>
      (await linesOf(log)).slice(before.length).some((line) => line.includes('"worker ready"')),
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    pid: child.pid,
    log,
    stop: async (signal = 'SIGTERM') => {
      if (signal !== 'SIGTERM') await child.stop(signal, 20_000);
      await stop();
    },
  };
}

async function linesOf(path: string): Promise<string[]> {
  return (await readFile(path, 'utf8').catch(() => '')).split('\n').slice(0, -1);
}
