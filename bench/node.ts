import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

/** One of this folder's programs, running: `finish` ends its stdin and returns what it wrote to stdout. */
export interface Program {
  finish(): Promise<string>;
  /** The first line that it writes to stdout, for a program that goes on. */
  firstLine(): Promise<string>;
}

/** As the packages start the worker: a larger young generation is no faster, and is not given back. */
const workerFlags = ['--max-semi-space-size=8'] as const;

/** Starts a program with a document on its stdin: keys and connection strings are not in argv. */
export function startNode(
  program: 'ours' | 'relay' | 'traffic',
  args: readonly string[],
  document?: object,
): Program {
  const file = fileURLToPath(new URL(`${program}.ts`, import.meta.url));
  const child: ChildProcessWithoutNullStreams = spawn(process.execPath, [...workerFlags, file, ...args]);
  child.stderr.pipe(process.stderr);
  if (document !== undefined) child.stdin.write(`${JSON.stringify(document)}\n`);
  const ended = once(child, 'exit');
  return {
    async finish() {
      child.stdin.end();
      const [written, [code]] = await Promise.all([text(child.stdout), ended]);
      if (code !== 0) throw new Error(`${program} ended with ${String(code)}`);
      return written;
    },
    async firstLine() {
      const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
      return chunk.toString().trim();
    },
  };
}
