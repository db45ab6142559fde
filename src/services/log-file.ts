import { open, stat } from 'node:fs/promises';

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
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    const from = Math.max(size < start ? 0 : start, size - maxLogBytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
    return buffer.subarray(0, bytesRead).toString('utf8').split('\n').filter(Boolean).slice(-lines);
  } catch {
    return undefined;
  }
}
