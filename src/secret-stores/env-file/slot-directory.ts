import { constants, type Stats } from 'node:fs';
import { dirname, join } from 'node:path';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { Fence } from '../../rotation/fence.ts';
import { attempt, errnoOf, syncDirectory } from './file-system.ts';
import type { FileSystem } from './file-system.ts';
import { removeLeftovers, temporaryName } from './replacement.ts';
import { formatSlot, parseSlot } from './slot.ts';
import type { Slot } from './slot.ts';

/** The slot on disk: `slot.json` (0600) in a directory of its own (0700). */
export interface SlotDirectory {
  readonly path: string;
  read(): Promise<Slot | undefined>;
  /** Makes a slot durable that an attempt killed in the middle may have left behind. */
  settle(fence: Fence): Promise<void>;
  /** Writes the slot unless there is one already, and returns the one that is there. */
  fix(slot: Slot, fence: Fence): Promise<Slot>;
  destroy(fence: Fence): Promise<void>;
}

/** Not through a symlink, which is not ours, and not waiting for the other end of a pipe, which is not ours either. */
const ours = constants.O_NOFOLLOW | constants.O_NONBLOCK;

export function createSlotDirectory(fs: FileSystem, path: string): SlotDirectory {
  const slotPath = join(path, 'slot.json');
  const doomedPath = join(path, 'slot.json.destroyed');

  return { path, read, settle, fix, destroy };

  async function read(): Promise<Slot | undefined> {
    const bytes = await attempt('read', slotPath, async () => {
      try {
        const handle = await fs.open(slotPath, constants.O_RDONLY | ours);
        try {
          mustBeOurs(await handle.stat(), slotPath);
          return await handle.readFile();
        } finally {
          await handle.close();
        }
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return undefined;
        throw error;
      }
    });
    return bytes && parseSlot(bytes, slotPath);
  }

  async function settle(fence: Fence): Promise<void> {
    await removeLeftovers(fs, slotPath, fence);
    await syncDirectory(fs, path);
  }

  async function fix(slot: Slot, fence: Fence): Promise<Slot> {
    await makeDirectory();
    await removeLeftovers(fs, slotPath, fence);
    await finishDestroying();
    const bytes = formatSlot(slot);
    const temporary = temporaryName(slotPath, fence.token);
    let made = false;
    try {
      await attempt('write', temporary, async () => {
        const handle = await fs.open(temporary, 'wx', 0o600);
        made = true;
        try {
          await handle.writeFile(bytes);
          await handle.sync();
        } finally {
          await handle.close();
        }
      });
      await fence.assert();
      // A link, not a rename: of two attempts that both found no slot, the second must not replace the keys of the first.
      await attempt('write', slotPath, async () => {
        try {
          await fs.link(temporary, slotPath);
        } catch (error) {
          if (errnoOf(error) === 'ENOENT') {
            throw new RotationError(
              failureTypes.fencedOut,
              `a newer attempt removed ${temporary}; attempt ${fence.token} of rotation ${fence.rotation} stops`,
            );
          }
          if (errnoOf(error) !== 'EEXIST') throw error;
        }
      });
    } catch (error) {
      // A failure leaves nothing behind. A directory with somebody else's slot in it stays, as it is not empty.
      if (made) await fs.unlink(temporary).catch(() => undefined);
      await fs.rmdir(path).catch(() => undefined);
      throw error;
    }
    await ignoring(['ENOENT'], 'remove', temporary, () => fs.unlink(temporary));
    await syncDirectory(fs, path);
    const fixed = await read();
    if (!fixed)
      throw new RotationError(failureTypes.fileFailed, `${slotPath} was removed while it was being written`);
    return fixed;
  }

  async function destroy(fence: Fence): Promise<void> {
    const exists = await attempt('list', path, async () => {
      try {
        return Boolean(await fs.lstat(path));
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return false;
        throw error;
      }
    });
    if (!exists) return;
    await removeLeftovers(fs, slotPath, fence);
    await fence.assert();
    // Renamed first: a kill in the middle of the overwriting leaves no half of a slot.
    await ignoring(['ENOENT'], 'remove', slotPath, () => fs.rename(slotPath, doomedPath));
    await syncDirectory(fs, path);
    await finishDestroying();
    await ignoring(['ENOTEMPTY', 'EEXIST', 'ENOENT'], 'remove', path, () => fs.rmdir(path));
    await syncDirectory(fs, dirname(path));
  }

  /** Overwrites before removing. On journalling, copy-on-write or flash storage old blocks may survive all the same. */
  async function finishDestroying(): Promise<void> {
    await ignoring(['ENOENT'], 'overwrite', doomedPath, async () => {
      const handle = await fs.open(doomedPath, constants.O_WRONLY | ours);
      try {
        const { size } = await handle.stat();
        await handle.writeFile(Buffer.alloc(size));
        await handle.sync();
      } finally {
        await handle.close();
      }
      await fs.unlink(doomedPath);
    });
    await syncDirectory(fs, path);
  }

  async function makeDirectory(): Promise<void> {
    await ignoring(['EEXIST'], 'make', path, async () => {
      await fs.mkdir(path, { mode: 0o700 });
      await syncDirectory(fs, dirname(path));
    });
    const stats = await attempt('look at', path, () => fs.lstat(path));
    if (!stats.isDirectory() || (stats.mode & 0o077) !== 0 || stats.uid !== process.geteuid?.()) {
      throw new RotationError(
        failureTypes.refused,
        `${path} is not a directory that only the worker's user can enter; expected one of mode 0700; remove it, or run: chmod 700 ${path}`,
      );
    }
  }

  async function ignoring(
    errnos: readonly string[],
    what: string,
    at: string,
    act: () => Promise<unknown>,
  ): Promise<void> {
    await attempt(what, at, async () => {
      try {
        await act();
      } catch (error) {
        if (!errnos.includes(errnoOf(error) ?? '')) throw error;
      }
    });
  }
}

/**
 * Whoever owns the directory of the key files, LiteLLM's own user perhaps, can put another slot in the place of ours; as
 * root, we would write what it says to the paths that it says.
 */
function mustBeOurs({ uid, mode }: Stats, slotPath: string): void {
  if (uid === process.geteuid?.() && (mode & 0o077) === 0) return;
  throw new RotationError(
    failureTypes.refused,
    `found ${slotPath} of user ${uid} with mode ${(mode & 0o777).toString(8).padStart(4, '0')}; expected one that this process has written, of its own user and mode 0600; if you know it to be that one, run: chown ${process.geteuid?.()} ${slotPath}; chmod 600 ${slotPath}; else remove it`,
  );
}
