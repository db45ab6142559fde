import { constants, type Stats } from 'node:fs';
import { lstat, open, stat } from 'node:fs/promises';

const maxLogBytes = 4 * 1024 * 1024;

/** In bytes; 0 where there is none. */
export async function sizeOf(path: string): Promise<number> {
  return await stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

/**
 * The last lines that were written after `start` (in bytes), or after the file was begun anew; undefined where it cannot be
 * read.
 */
export async function tail(
  path: string,
  start: number,
  lines: number,
): Promise<readonly string[] | undefined> {
  try {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const opened = await file.stat();
    if (!opened.isFile() || !mayLeadTo(await lstat(path), opened)) return undefined;
    const { size } = opened;
    const from = Math.max(size < start ? 0 : start, size - maxLogBytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
    return buffer.subarray(0, bytesRead).toString('utf8').split('\n').filter(Boolean).slice(-lines);
  } catch {
    return undefined;
  }
}

/**
 * LiteLLM's own user may own the directory of its log, and what stands in that is shown to others: a link of theirs must
 * not have root read a file that they cannot.
 */
function mayLeadTo(named: Stats, opened: Stats): boolean {
  if (!named.isSymbolicLink()) return named.ino === opened.ino && named.dev === opened.dev;
  return [0, process.geteuid?.(), opened.uid].includes(named.uid);
}
