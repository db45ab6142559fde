import * as nodeFileSystem from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { Fence } from '../../rotation/fence.ts';
import { describeFinding, isBlocking } from '../../rotation/finding.ts';
import type { KeyGenerations, KeyPair } from '../../rotation/keys.ts';
import { editTexts } from './editing.ts';
import { attempt } from './file-system.ts';
import type { FileSystem } from './file-system.ts';
import { inspectFiles, placesOf } from './inspection.ts';
import { pairOf, valuesOf } from './key-values.ts';
import type { EnvFileStoreOptions } from './options.ts';
import { carryOver, neverPromoted, observeParts, sideOf, takeOver } from './parts.ts';
import { removeLeftovers, tryReplacement } from './replacement.ts';
import { createSlotDirectory } from './slot-directory.ts';
import type { SlotDirectory } from './slot-directory.ts';
import { generationsOf, mustBelongTo, slotFinding } from './slot.ts';
import type { SlotPart } from './slot.ts';
import type { SecretStore, StoreInspection, StoreObservation } from '../port.ts';

export type { EnvFileStoreOptions } from './options.ts';

/**
 * Keys in env files. Each file is read the way its reader does; only the bytes of the values change. Files are replaced
 * by temp file and rename: mode, owner and symlinks stay, extended attributes do not, and a POSIX ACL is refused.
 *
 * The slot, with both generations and the images of every file that changes, lies in `slotDirectory` from `prepare` to
 * `discard`. Its default follows the first keys file's symlink: set it where deployments move that symlink.
 *
 * @param fs The file system; a test passes its own to stop between any two calls.
 */
export function createEnvFileStore(
  options: EnvFileStoreOptions,
  fs: FileSystem = nodeFileSystem,
): SecretStore {
  const { files, names } = options;
  const keysFile = files.find(({ role }) => role === 'keys');
  if (!keysFile || names.master.length === 0) {
    throw new RotationError(
      failureTypes.refused,
      'found no env file of the role keys, or no name for the master key; expected both; add them to the configuration',
    );
  }
  const description = `env ${files.length === 1 ? 'file' : 'files'} ${files.map(({ path }) => path).join(' and ')}`;
  return { description, inspect, prepare, generations, observe, promote, restore, discard };

  async function inspect(rotation?: string): Promise<StoreInspection> {
    const { findings, found } = await inspectFiles(fs, options);
    const slot = await (await slotDirectory()).read();
    const all = [...findings, ...(slot && slot.rotation !== rotation ? [slotFinding(slot)] : [])];
    const usable = !all.some(isBlocking);
    return {
      findings: all,
      current: usable ? pairOf(valuesOf(found.current.master!, found.current.salt)) : undefined,
      places: placesOf(found, names),
    };
  }

  async function prepare(
    rotation: string,
    fence: Fence,
    generate: (current: KeyPair) => KeyPair,
  ): Promise<KeyGenerations> {
    await fence.assert();
    const directory = await slotDirectory();
    const existing = await directory.read();
    if (existing) {
      mustBelongTo(existing, rotation, directory);
      await directory.settle(fence);
      return generationsOf(existing);
    }

    const { findings, found, texts, images } = await inspectFiles(fs, options);
    const blocking = findings.filter(isBlocking);
    if (blocking.length > 0) {
      throw new RotationError(failureTypes.refused, blocking.map(describeFinding).join('\n'), {
        facts: { findings },
      });
    }
    const previous = valuesOf(found.current.master!, found.current.salt);
    const generated = generate(pairOf(previous));
    const pending = valuesOf(generated.master.reveal(), generated.salt?.reveal());
    const after = editTexts(texts, found, names, pending).map((text) => Buffer.from(text, 'latin1'));
    const parts = texts.flatMap(({ path, role }, index): SlotPart[] => {
      const { realPath, mode, uid, gid, bytes } = images[index]!;
      if (bytes.equals(after[index]!)) return [];
      return [{ path, realPath, mode, uid, gid, role, before: bytes, after: after[index]! }];
    });
    if (parts.length === 0) {
      throw new RotationError(
        failureTypes.refused,
        'the pending keys are the current ones; expected at least one new key',
      );
    }
    for (const part of parts) await tryReplacement(fs, part, part.after.length, fence);
    const fixed = await directory.fix({ rotation, previous, pending, parts }, fence);
    return generationsOf(mustBelongTo(fixed, rotation, directory));
  }

  async function generations(rotation: string): Promise<KeyGenerations | undefined> {
    const slot = await (await slotDirectory()).read();
    return slot?.rotation === rotation ? generationsOf(slot) : undefined;
  }

  async function observe(rotation: string): Promise<StoreObservation> {
    const slot = await (await slotDirectory()).read();
    // Without images there is nothing to compare with: no part is listed, and nothing of this rotation is in force.
    if (slot?.rotation !== rotation) return { side: 'previous', parts: [], prepared: false };
    const parts = await observeParts(fs, slot);
    return {
      side: sideOf(parts),
      parts: parts.map(({ part, side }) => ({ where: part.path, side })),
      prepared: true,
    };
  }

  async function promote(rotation: string, fence: Fence) {
    return carry(rotation, fence, 'pending');
  }

  async function restore(rotation: string, fence: Fence) {
    return carry(rotation, fence, 'previous');
  }

  async function carry(rotation: string, fence: Fence, to: 'previous' | 'pending') {
    const directory = await slotDirectory();
    const slot = await directory.read();
    if (!slot) {
      throw new RotationError(
        failureTypes.refused,
        `found no slot of rotation ${rotation} in ${directory.path}; expected one from prepare; no file was changed`,
      );
    }
    mustBelongTo(slot, rotation, directory);
    return carryOver(fs, slot, to, fence);
  }

  async function discard(rotation: string, fence: Fence, expected: 'previous' | 'pending'): Promise<void> {
    await fence.assert();
    const directory = await slotDirectory();
    const slot = await directory.read();
    if (slot && slot.rotation !== rotation) return;
    if (!slot) await removeTrials(fence);
    else {
      await takeOver(fs, slot, fence);
      const parts = await observeParts(fs, slot);
      const side = sideOf(parts);
      // Somebody edited a file before the cutover: nothing of this rotation is in it, and the edit is theirs to keep.
      const untouched = expected === 'previous' && (await neverPromoted(fs, slot, parts));
      if (side !== expected && !untouched) {
        const where = parts.map((part) => `${part.part.path}: ${part.side}`).join(', ');
        throw new RotationError(
          failureTypes.changedElsewhere,
          `found the env files on side ${side} (${where}); expected ${expected}; the slot of rotation ${rotation} is kept, because its keys may still be needed; run litellm-rotate reconcile TARGET`,
        );
      }
    }
    await directory.destroy(fence);
  }

  /** Of a `prepare` that ended in the middle. */
  async function removeTrials(fence: Fence): Promise<void> {
    for (const { path } of files) {
      const realPath = await fs.realpath(path).catch(() => undefined);
      if (realPath !== undefined) await removeLeftovers(fs, realPath, fence);
    }
  }

  async function slotDirectory(): Promise<SlotDirectory> {
    if (options.slotDirectory !== undefined) return createSlotDirectory(fs, options.slotDirectory);
    const { path } = keysFile!;
    const real = await attempt('find', path, async () => {
      const target = await fs.realpath(path).catch(() => undefined);
      return target === undefined
        ? await fs.realpath(dirname(path)).catch(() => dirname(path))
        : dirname(target);
    });
    return createSlotDirectory(fs, join(real, '.litellm-rotate'));
  }
}
