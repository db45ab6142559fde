import { spawn } from 'node:child_process';
import { accessSync, closeSync, constants, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ChildOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Receives stdout and stderr, appended. */
  readonly log: string;
  /** What the kernel sends it when this process dies, however it dies (Linux with util-linux; else nothing). */
  readonly deathSignal?: 'INT' | 'TERM' | 'QUIT' | 'KILL';
}

/** A long-running process that this one has started. */
export interface Child {
  readonly pid: number;
  /** How it ended, as in `exit 3` or `SIGKILL`; undefined while it runs. */
  ended(): string | undefined;
  /** Sends the signal, waits until it is gone, and after `patienceMs` kills it. */
  stop(signal: NodeJS.Signals, patienceMs: number): Promise<void>;
  /** Sends a signal and does not wait. @default SIGKILL */
  abandon(signal?: NodeJS.Signals): void;
}

/** Starts a process in the background with its output in a file. */
export async function startChild(
  command: string,
  args: readonly string[],
  options: ChildOptions,
): Promise<Child> {
  const setpriv = onPath('setpriv');
  const [file, argv] =
    options.deathSignal === undefined || setpriv === undefined
      ? [command, args]
      : [setpriv, ['--pdeathsig', options.deathSignal, command, ...args]];
  const log = openSync(options.log, 'a', 0o600);
  const child = spawn(file, argv, {
    env: options.env,
    stdio: ['ignore', log, log],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
  });
  closeSync(log);
  let end: string | undefined;
  const gone = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      end = signal ?? `exit ${code}`;
      resolve();
    });
  });
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  child.unref(); // what is only running must not keep a script alive; its stop() does
  return {
    pid: child.pid as number,
    ended: () => end,
    async stop(signal, patienceMs) {
      if (end !== undefined) return;
      child.ref();
      child.kill(signal);
      const late = new AbortController();
      const kill = sleep(patienceMs, undefined, { signal: late.signal }).then(
        () => child.kill('SIGKILL'),
        () => false,
      );
      await gone;
      late.abort();
      await kill;
    },
    abandon(signal = 'SIGKILL') {
      if (end === undefined) child.kill(signal);
    },
  };
}

/**
 * Waits until `ready` answers true. A throw of `ready` counts as "not yet".
 *
 * @throws with the end of the log when the child ends first or the time is over
 */
export async function untilReady(
  name: string,
  child: Child,
  log: string,
  patienceMs: number,
  ready: () => Promise<boolean>,
): Promise<void> {
  for (const deadline = Date.now() + patienceMs; !(await ready().catch(() => false)); await sleep(50)) {
    const end = child.ended();
    if (end !== undefined) throw new Error(`${name} ended at start (${end})\n${await tail(log)}`);
    if (Date.now() > deadline)
      throw new Error(`${name} was not ready in ${patienceMs / 1000} s\n${await tail(log)}`);
  }
}

/** The last lines of a file. */
export async function tail(path: string, lines = 30): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '(no log)');
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}

/** An executable's path, looked up like a shell does. */
export function onPath(name: string, path = process.env.PATH ?? ''): string | undefined {
  for (const directory of path.split(delimiter).filter(Boolean)) {
    const file = join(directory, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // not in this directory
    }
  }
  return undefined;
}

/** Ports on 127.0.0.1 that were free a moment ago, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject).listen(0, '127.0.0.1', () => {
            const address = server.address();
            resolve(typeof address === 'object' && address !== null ? address.port : 0);
          });
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/**
 * A free port that the kernel gives to nobody by itself (the lower bound of its own is 32768 on Linux): for a service that
 * is to find it free again after a restart.
 */
export async function freeFixedPort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
  throw new Error('no free port from 20000 to 29999 on 127.0.0.1');
}

/** One port on 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  if (port === undefined) throw new Error('no free port on 127.0.0.1');
  return port;
}
