import { dirname } from 'node:path';
import { RotationError } from '../../rotation/failure.ts';
import type { Fence } from '../../rotation/fence.ts';
import type { StoreSide } from '../port.ts';
import { syncDirectory } from './file-system.ts';
import type { FileSystem } from './file-system.ts';
import { readImage } from './image.ts';
import type { FileImage } from './image.ts';
import { changedElsewhere, removeLeftovers, replaceFile, sameIdentity } from './replacement.ts';
import type { Slot, SlotPart } from './slot.ts';

export interface ObservedPart {
  readonly part: SlotPart;
  readonly side: 'previous' | 'pending' | 'changed';
}

/** Compares every file with its two images. Another mode, owner or symlink target counts as changed. */
export async function observeParts(fs: FileSystem, slot: Slot): Promise<readonly ObservedPart[]> {
  const observed: ObservedPart[] = [];
  for (const part of slot.parts) observed.push({ part, side: await sideOfPart(fs, part) });
  return observed;
}

async function sideOfPart(fs: FileSystem, part: SlotPart): Promise<ObservedPart['side']> {
  const image = await imageOf(fs, part);
  if (image === undefined || !sameIdentity(image, part)) return 'changed';
  if (image.bytes.equals(part.before)) return 'previous';
  return image.bytes.equals(part.after) ? 'pending' : 'changed';
}

export function sideOf(parts: readonly ObservedPart[]): StoreSide {
  const sides = new Set(parts.map(({ side }) => side));
  if (sides.has('changed')) return 'changed';
  if (sides.size > 1) return 'mixed';
  return sides.has('pending') ? 'pending' : 'previous';
}

/**
 * Whether no file was brought to the pending side, so that the pending keys are in force nowhere: an edit of somebody
 * else's is then no reason to keep them. A file that is gone proves nothing.
 */
export async function neverPromoted(
  fs: FileSystem,
  { previous, pending }: Slot,
  parts: readonly ObservedPart[],
): Promise<boolean> {
  if (parts.some(({ side }) => side === 'pending')) return false;
  const made = [pending.master, pending.salt].filter(
    (key): key is string => key !== undefined && key !== previous.master && key !== previous.salt,
  );
  for (const { part } of parts.filter(({ side }) => side === 'changed')) {
    const image = await imageOf(fs, part);
    if (image === undefined || made.some((key) => image.bytes.includes(key))) return false;
  }
  return true;
}

async function imageOf(fs: FileSystem, part: SlotPart): Promise<FileImage | undefined> {
  try {
    return await readImage(fs, part.path);
  } catch (error) {
    if (error instanceof RotationError && error.facts?.['errno'] === 'ENOENT') return undefined;
    throw error;
  }
}

/** Fences out older attempts, before anything is looked at; see `replaceFile`. */
export async function takeOver(fs: FileSystem, slot: Slot, fence: Fence): Promise<void> {
  await fence.assert();
  for (const { realPath } of slot.parts) await removeLeftovers(fs, realPath, fence);
}

/**
 * Brings every file to one side. To `pending`, copies go first and the keys file last: up to that last rename every
 * source that the service could read agrees on the previous key, and from it on on the pending one. To `previous` it
 * goes the other way round, for the same reason. A crash in between leaves the files mixed; a call for either side
 * completes it. The service is stopped meanwhile.
 */
export async function carryOver(fs: FileSystem, slot: Slot, to: 'previous' | 'pending', fence: Fence) {
  await takeOver(fs, slot, fence);
  const observed = await observeParts(fs, slot);
  const changed = observed.filter(({ side }) => side === 'changed').map(({ part }) => part.path);
  if (changed.length > 0) throw changedElsewhere(changed);

  const keysLast = observed.toSorted(
    (a, b) => Number(a.part.role === 'keys') - Number(b.part.role === 'keys'),
  );
  let written = 0;
  for (const { part, side } of to === 'pending' ? keysLast : keysLast.toReversed()) {
    if (side === to) {
      // An attempt killed right after its rename has not synced it.
      await syncDirectory(fs, dirname(part.realPath));
    } else {
      const [from, target] = to === 'pending' ? [part.before, part.after] : [part.after, part.before];
      await replaceFile(fs, part, from, target, fence);
      written += 1;
    }
  }
  return { written, alreadyDone: observed.length - written };
}
