import { spawn } from 'node:child_process';
import { homedir } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { findDecryptionErrors } from '../litellm/decryption-errors.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import { programPath } from '../services/host.ts';
import { processesGiven } from '../services/process-table.ts';

/** In the environment of everything that runs on a clone, so that whoever comes later finds it, pid files or not. */
const marker = 'LITELLM_ROTATE_REHEARSAL';

/** LiteLLM takes up to 2.5 s to stop; a container's client some more. */
const stopGraceMs = 20_000;
const keptLines = 200;

/** A program in the foreground, in a process group of its own. */
export interface SpareProcess {
  ended(): string | undefined;
  decryptionErrors(): number;
  lastLines(): readonly string[];
  stop(): Promise<void>;
}

/**
 * Starts it with PATH, HOME and the environment given, and nothing else. Throws `ServiceFailed` when it cannot be run.
 * @param clone marks it
 */
export async function startSpareProcess(
  [program = '', ...args]: readonly string[],
  options: {
    readonly clone: string;
    readonly environment: Readonly<Record<string, string>>;
    readonly cwd?: string;
  },
): Promise<SpareProcess> {
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { PATH: programPath, HOME: homedir(), ...options.environment, [marker]: options.clone },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const failure = new Promise<NodeJS.ErrnoException>((resolve) => {
    child.once('error', resolve);
  });
  const { pid } = child;
  if (pid === undefined) {
    throw new RotationError(
      failureTypes.serviceFailed,
      `${program}: cannot be run (${(await failure).code ?? 'an error'}); expected the program that starts the rehearsal's LiteLLM; correct rehearsal.start in the configuration`,
    );
  }
  const lines: string[] = [];
  let errors = 0;
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      errors += findDecryptionErrors([line]);
      lines.push(line);
      if (lines.length > keptLines) lines.shift();
    });
  }
  let ended: string | undefined;
  // Not the end of its output: what it has started may hold that open.
  const gone = new Promise<void>((resolve) => {
    child.once('exit', (code, by) => {
      ended = code === null ? `was killed by ${by ?? 'a signal'}` : `exited with ${code}`;
      resolve();
    });
  });
  return {
    ended: () => ended,
    decryptionErrors: () => errors,
    lastLines: () => lines,
    async stop() {
      signalGroup(pid, 'SIGTERM');
      await Promise.race([gone, sleep(stopGraceMs)]);
      signalGroup(pid, 'SIGKILL');
      await endSpareProcesses(options.clone);
      // A grandchild that nobody found may hold the pipes open.
      child.stdout.destroy();
      child.stderr.destroy();
    },
  };
}

/** Ends everything that was started on a clone, by whichever worker of this host and user: SIGTERM first. */
export async function endSpareProcesses(clone: string): Promise<void> {
  const deadline = Date.now() + stopGraceMs;
  for (let first = true; ; first = false) {
    const left = await processesGiven(marker, clone);
    if (left.length === 0) return;
    const late = Date.now() > deadline;
    if (first || late) for (const { pid } of left) signal(pid, late ? 'SIGKILL' : 'SIGTERM');
    if (Date.now() > deadline + 5_000) {
      throw new RotationError(
        failureTypes.serviceFailed,
        `${left.length} processes of the rehearsal still run (pid ${left.map(({ pid }) => pid).join(', ')}); expected none; end them by hand`,
      );
    }
    await sleep(100);
  }
}

function signalGroup(pid: number, name: 'SIGTERM' | 'SIGKILL'): void {
  signal(-pid, name);
}

function signal(pid: number, name: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}
