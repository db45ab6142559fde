import { basename, dirname, join } from 'node:path';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { Fence } from '../../rotation/fence.ts';
import { attempt, errnoOf, syncDirectory } from './file-system.ts';
import type { FileSystem } from './file-system.ts';
import { readImage } from './image.ts';

/** What a file is, apart from its bytes. */
export interface FileIdentity {
  /** As configured. */
  readonly path: string;
  readonly realPath: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Replaces a file's bytes by temp file and rename, and reads the result back. The original is untouched until the
 * rename, and a failure leaves no temp file behind. Extended attributes are not carried over, for which Node has no call;
 * a file with a POSIX ACL is refused before.
 *
 * Fencing. A paused writer may wake up between its last check and its rename, and no file system offers a rename
 * that is conditional on a token. So the temp file's name carries the token, and whoever takes a newer token removes
 * the older temp files before it looks at anything (`removeLeftovers`): the paused rename then fails with ENOENT. A
 * writer that has not made its temp file yet is stopped by `fence.assert()`, which comes after the making.
 */
export async function replaceFile(
  fs: FileSystem,
  file: FileIdentity,
  from: Buffer,
  to: Buffer,
  fence: Fence,
): Promise<void> {
  const temporary = await makeTemporary(fs, file, to, fence);
  let made = true;
  try {
    await fence.assert();
    // Compare-and-set. An editor that saves between this look and the rename would be overwritten: the gap is a few
    // microseconds, and the service is stopped.
    if (!(await holds(fs, file, from))) throw changedElsewhere([file.path]);
    await rename(fs, temporary, file.realPath, fence);
    made = false;
  } finally {
    if (made) await fs.unlink(temporary).catch(() => undefined);
  }
  await syncDirectory(fs, dirname(file.realPath));
  if (!(await holds(fs, file, to))) {
    // A newer attempt may have put the other generation there meanwhile.
    await fence.assert();
    throw changedElsewhere([file.path]);
  }
}

/**
 * Makes what would replace a file, with zeros for its content, and removes it again: an owner that cannot be given away
 * shows while LiteLLM runs.
 */
export async function tryReplacement(
  fs: FileSystem,
  file: FileIdentity,
  size: number,
  fence: Fence,
): Promise<void> {
  await removeLeftovers(fs, file.realPath, fence);
  const temporary = await makeTemporary(fs, file, Buffer.alloc(size), fence);
  await remove(fs, temporary);
}

async function makeTemporary(
  fs: FileSystem,
  file: FileIdentity,
  bytes: Buffer,
  fence: Fence,
): Promise<string> {
  const temporary = temporaryName(file.realPath, fence.token);
  let made = false;
  try {
    await attempt('write', temporary, async () => {
      const handle = await fs.open(temporary, 'wx', 0o600);
      made = true;
      try {
        await handle.writeFile(bytes);
        // Only now, with the content in place, does it get the original's owner and mode, neither wider than before.
        const { uid, gid } = await handle.stat();
        if (uid !== file.uid || gid !== file.gid) await handle.chown(file.uid, file.gid);
        await handle.chmod(file.mode);
        await handle.sync();
      } finally {
        await handle.close();
      }
    });
    return temporary;
  } catch (error) {
    if (made) await fs.unlink(temporary).catch(() => undefined);
    throw error;
  }
}

async function rename(fs: FileSystem, temporary: string, realPath: string, fence: Fence): Promise<void> {
  await attempt('replace', realPath, async () => {
    try {
      await fs.rename(temporary, realPath);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      throw new RotationError(
        failureTypes.fencedOut,
        `a newer attempt removed what attempt ${fence.token} of rotation ${fence.rotation} was about to put at ${realPath}; this attempt wrote nothing there and stops`,
      );
    }
  });
}

/** Whether the file has exactly these bytes, and the path, mode and owner that it had when the rotation began. */
async function holds(fs: FileSystem, file: FileIdentity, bytes: Buffer): Promise<boolean> {
  const image = await readImage(fs, file.path);
  return sameIdentity(image, file) && image.bytes.equals(bytes);
}

export function sameIdentity(a: Omit<FileIdentity, 'path'>, b: Omit<FileIdentity, 'path'>): boolean {
  return a.realPath === b.realPath && a.mode === b.mode && a.uid === b.uid && a.gid === b.gid;
}

/** Removes temp files of older attempts. Call it with a token just asserted, before looking at the file. */
export async function removeLeftovers(fs: FileSystem, realPath: string, fence: Fence): Promise<void> {
  const directory = dirname(realPath);
  const names = await attempt('list', directory, () => fs.readdir(directory));
  for (const name of names) {
    const token = tokenOf(name, realPath);
    if (token === undefined) continue;
    const path = join(directory, name);
    if (token > fence.token) {
      throw new RotationError(
        failureTypes.fencedOut,
        `found ${path}, of a newer attempt than ${fence.token}; this attempt wrote nothing and stops. If no rotation is running, delete that file`,
      );
    }
    await remove(fs, path);
  }
}

async function remove(fs: FileSystem, path: string): Promise<void> {
  await attempt('remove', path, async () => {
    await fs.unlink(path).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw error;
    });
  });
}

export function temporaryName(realPath: string, token: number): string {
  return join(dirname(realPath), `.${basename(realPath)}.litellm-rotate.${token}.tmp`);
}

function tokenOf(name: string, realPath: string): number | undefined {
  const prefix = `.${basename(realPath)}.litellm-rotate.`;
  if (!name.startsWith(prefix)) return undefined;
  const token = /^(\d+)\.tmp$/.exec(name.slice(prefix.length))?.[1];
  return token === undefined ? undefined : Number(token);
}

export function changedElsewhere(paths: readonly string[]): RotationError {
  return new RotationError(
    failureTypes.changedElsewhere,
    `${paths.join(' and ')} changed since the rotation was prepared (content, mode, owner or symlink target); expected the file as it was before the rotation or as the rotation writes it; undo that change and try again`,
    { facts: { paths } },
  );
}
