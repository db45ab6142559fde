import type * as promises from 'node:fs/promises';
import { failureTypes, RotationError } from '../../rotation/failure.ts';

/** The calls of node:fs/promises that the store makes; a test passes its own to stop or fail between any two of them. */
export type FileSystem = Pick<
  typeof promises,
  | 'access'
  | 'link'
  | 'lstat'
  | 'mkdir'
  | 'open'
  | 'readdir'
  | 'realpath'
  | 'rename'
  | 'rmdir'
  | 'stat'
  | 'unlink'
>;

/** The errno name of a file system error, such as `ENOSPC`; undefined for any other error. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Does one thing with a file. An error becomes a `FileFailed` that names the errno and the path; the original error is
 * left out, so that no buffer or text of a file can come along with it.
 */
export async function attempt<Result>(
  what: string,
  path: string,
  act: () => Promise<Result>,
): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof RotationError) throw error;
    const errno = errnoOf(error) ?? 'unknown error';
    throw new RotationError(failureTypes.fileFailed, `cannot ${what} ${path}: ${errno}; ${hint(errno)}`, {
      facts: { errno, path },
    });
  }
}

function hint(errno: string): string {
  if (errno === 'ENOSPC' || errno === 'EDQUOT') return 'free some space on that file system and try again';
  if (errno === 'EACCES' || errno === 'EPERM') return 'run the worker as the owner of the file, or as root';
  if (errno === 'EROFS') return 'the file system is read-only: mount it writable for the worker';
  return 'check the path and try again';
}

/** Makes a created, renamed or removed name durable. Source: fsync(2), on directories. */
export async function syncDirectory(fs: FileSystem, path: string): Promise<void> {
  await attempt('sync the directory', path, async () => {
    const handle = await fs.open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
}
