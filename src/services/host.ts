import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { execa } from 'execa';

/** How a program ended. `code` is its exit code, and undefined unless it `exited`. */
export interface Outcome {
  readonly ended: 'exited' | 'killed' | 'not runnable' | 'timed out';
  readonly code: number | undefined;
  /** May hold secrets: never put into an error, a finding or a log. */
  readonly stdout: string;
  /** May hold secrets, as `stdout`. */
  readonly stderr: string;
}

export interface RunOptions {
  readonly timeoutMs: number;
  /** Ends the program, and rejects with the signal's own reason. */
  readonly signal?: AbortSignal | undefined;
  /** Added to PATH and HOME, which are all that a program gets otherwise. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
  /** `ignore` is for a program that leaves a daemon behind: the daemon would hold a pipe open, and we would wait for it. */
  readonly output?: 'capture' | 'ignore';
}

/** Runs one program, by argument array and without a shell. Rejects only for an abort. */
export type Run = (file: string, args: readonly string[], options: RunOptions) => Promise<Outcome>;

/** The machine that a service runs on, seen from inside the namespaces that the service manager lives in. */
export interface Host {
  readonly run: Run;
  /** Rejects with node's error, whose `code` is `ENOENT`, `EACCES`, ... */
  readFile(path: string): Promise<Buffer>;
}

/** The machine that we run on. */
export const thisHost: Host = { run, readFile: (path) => readFile(path) };

/** Where programs are looked for when the environment given has no PATH. */
export const programPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const graceMs = 2_000;
const maxOutput = 32 * 1024 * 1024;

/**
 * What a program gets unless told otherwise. Our own environment is not handed down: a LITELLM_MASTER_KEY in the
 * worker's shell would reach LiteLLM, or compose's `${...}`, and most loaders let it win over the file that we wrote.
 */
function baseEnvironment(): Record<string, string> {
  return { PATH: programPath, HOME: homedir() };
}

/** @see Run */
// The result of execa carries the command line and the output in its message. It stays in this function.
export async function run(file: string, args: readonly string[], options: RunOptions): Promise<Outcome> {
  options.signal?.throwIfAborted();
  const stream = options.output === 'ignore' ? 'ignore' : 'pipe';
  const child = execa(file, args, {
    stdin: 'ignore',
    stdout: stream,
    stderr: stream,
    reject: false,
    // A process group of its own: a timeout then ends the program's children too, and Ctrl-C at the worker ends none.
    detached: true,
    extendEnv: false,
    env: { ...baseEnvironment(), ...options.environment },
    maxBuffer: maxOutput,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  let timedOut = false;
  const ending: NodeJS.Timeout[] = [];
  const end = (): void => {
    killGroup(child.pid, 'SIGTERM');
    ending.push(setTimeout(() => killGroup(child.pid, 'SIGKILL'), graceMs));
    // A grandchild in another group may hold our pipes open for ever.
    ending.push(
      setTimeout(() => [child.stdout, child.stderr].forEach((pipe) => pipe?.destroy()), graceMs + 500),
    );
  };
  const timer = setTimeout(() => {
    timedOut = true;
    end();
  }, options.timeoutMs);
  options.signal?.addEventListener('abort', end, { once: true });
  try {
    const { exitCode, code, stdout, stderr } = await child;
    options.signal?.throwIfAborted();
    const output = { stdout: text(stdout), stderr: text(stderr) };
    if (timedOut) return { ended: 'timed out', code: undefined, ...output };
    if (exitCode !== undefined) return { ended: 'exited', code: exitCode, ...output };
    return { ended: code === undefined ? 'killed' : 'not runnable', code: undefined, ...output };
  } finally {
    options.signal?.removeEventListener('abort', end);
    [timer, ...ending].forEach((pending) => clearTimeout(pending));
  }
}

function text(output: unknown): string {
  return typeof output === 'string' ? output : '';
}

function killGroup(pid: number | undefined, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // It has ended.
  }
}

/** Whether a program did what it was asked to. */
export function succeeded(outcome: Outcome): boolean {
  return outcome.ended === 'exited' && outcome.code === 0;
}

/** `exited with 3`, `did not end within 90 s`: says how a program ended, and nothing that it printed. */
export function describeOutcome(outcome: Outcome, timeoutMs: number): string {
  switch (outcome.ended) {
    case 'exited':
      return `exited with ${outcome.code}`;
    case 'killed':
      return 'was killed by a signal';
    case 'not runnable':
      return 'could not be run (not found, or not executable)';
    case 'timed out':
      return `did not end within ${Math.round(timeoutMs / 1000)} s`;
  }
}
