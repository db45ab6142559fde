import { failureTypes, RotationError } from '../rotation/failure.ts';
import { printable } from './printable.ts';

/** What the process tells a script. Nothing was changed for `finding` and `usage`. */
export const exitCodes = {
  done: 0,
  finding: 1,
  usage: 2,
  rolledBack: 3,
  needsPerson: 4,
  /** 128 + SIGINT, as a shell has it: following was given up, the rotation goes on. */
  detached: 130,
  /** 128 + SIGPIPE: whoever read the output has gone. */
  unread: 141,
} as const;

/** Ends the command with a message on stderr: no stack trace for a user's mistake. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exitCode: number;
  readonly hints: readonly string[];

  constructor(exitCode: number, message: string, hints: readonly string[] = []) {
    super(message);
    this.exitCode = exitCode;
    this.hints = hints;
  }
}

/** For `| head`: ends quietly when nobody reads on, as other programs do by SIGPIPE, which Node ignores. */
export function endWhenUnread(streams: readonly NodeJS.WritableStream[]): void {
  for (const stream of streams) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      process.exit(error.code === 'EPIPE' ? exitCodes.unread : reportError(error));
    });
  }
}

/** Prints an error the way every command does, and returns the exit code. */
export function reportError(error: unknown): number {
  const print = (line: string) => process.stderr.write(`litellm-rotate: ${printable(line)}\n`);
  if (error instanceof CommandError) {
    print(`error: ${error.message}`);
    for (const hint of error.hints) print(`hint: ${hint}`);
    return error.exitCode;
  }
  if (error instanceof RotationError) {
    print(`error: ${error.message}`);
    return error.type === failureTypes.badRequest ? exitCodes.usage : exitCodes.finding;
  }
  print(`error: ${error instanceof Error ? error.message : String(error)}`);
  return exitCodes.finding;
}
