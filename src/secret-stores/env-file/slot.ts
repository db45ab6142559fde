import { createHash } from 'node:crypto';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { Finding } from '../../rotation/finding.ts';
import type { KeyGenerations } from '../../rotation/keys.ts';
import { pairOf } from './key-values.ts';
import type { KeyValues } from './key-values.ts';
import type { FileIdentity } from './replacement.ts';

/** One file of a rotation, with both of its images. */
export interface SlotPart extends FileIdentity {
  readonly role: 'keys' | 'copies';
  readonly before: Buffer;
  readonly after: Buffer;
}

/** Everything that a rotation needs to go forward or back without a person's memory. */
export interface Slot {
  readonly rotation: string;
  readonly previous: KeyValues;
  readonly pending: KeyValues;
  readonly parts: readonly SlotPart[];
}

const version = 1;

export function formatSlot({ rotation, previous, pending, parts }: Slot): Buffer {
  const document = {
    version,
    rotation,
    previous,
    pending,
    parts: parts.map(({ before, after, ...part }) => ({
      ...part,
      before: before.toString('base64'),
      after: after.toString('base64'),
      digests: { before: digest(before), after: digest(after) },
    })),
  };
  return Buffer.from(`${JSON.stringify(document)}\n`);
}

/** Parses a slot; a damaged one is a `FileFailed` that says nothing of its content. */
export function parseSlot(bytes: Buffer, path: string): Slot {
  let document: unknown;
  try {
    document = JSON.parse(bytes.toString('utf8'));
  } catch {
    // The parser's message quotes the text.
    throw damaged(path, 'is not JSON');
  }
  if (!isRecord(document)) throw damaged(path, 'is not an object');
  if (document['version'] !== version) throw damaged(path, `is not of version ${version}`);
  const { rotation, previous, pending, parts } = document;
  if (
    typeof rotation !== 'string' ||
    !isKeyValues(previous) ||
    !isKeyValues(pending) ||
    !Array.isArray(parts)
  ) {
    throw damaged(path, 'lacks a field');
  }
  return { rotation, previous, pending, parts: parts.map((part) => parsePart(part, path)) };
}

export function generationsOf({ previous, pending }: Slot): KeyGenerations {
  return { previous: pairOf(previous), pending: pairOf(pending) };
}

/** The slot, if it is of this rotation. */
export function mustBelongTo(slot: Slot, rotation: string, directory: { readonly path: string }): Slot {
  if (slot.rotation === rotation) return slot;
  throw new RotationError(
    failureTypes.refused,
    `found the slot of rotation ${slot.rotation} in ${directory.path}; expected none of another rotation than ${rotation}; run litellm-rotate reconcile TARGET`,
  );
}

export function slotFinding(slot: Slot): Finding {
  return {
    severity: 'blocking',
    code: 'slot-of-another-rotation',
    where: slot.parts.map(({ path }) => path).join(', '),
    found: `the slot of rotation ${slot.rotation}, which has not ended`,
    expected: 'no slot of an earlier rotation',
    next: 'look whether a rotation runs: litellm-rotate status; if none does, run: litellm-rotate reconcile TARGET; if that has nothing to reconcile, the slot was away when its rotation ended: remove the directory .litellm-rotate that it is in, once LiteLLM serves its models',
  };
}

function parsePart(part: unknown, slotPath: string): SlotPart {
  if (!isRecord(part) || !isRecord(part['digests'])) throw damaged(slotPath, 'lacks a field');
  const { path, realPath, mode, uid, gid, role, before, after, digests } = part;
  if (
    typeof path !== 'string' ||
    typeof realPath !== 'string' ||
    typeof mode !== 'number' ||
    typeof uid !== 'number' ||
    typeof gid !== 'number' ||
    (role !== 'keys' && role !== 'copies') ||
    typeof before !== 'string' ||
    typeof after !== 'string'
  ) {
    throw damaged(slotPath, 'lacks a field');
  }
  const images = { before: Buffer.from(before, 'base64'), after: Buffer.from(after, 'base64') };
  if (digest(images.before) !== digests['before'] || digest(images.after) !== digests['after']) {
    throw damaged(slotPath, `has an image of ${path} that does not match its digest`);
  }
  return { path, realPath, mode, uid, gid, role, ...images };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isKeyValues(value: unknown): value is KeyValues {
  if (!isRecord(value) || typeof value['master'] !== 'string') return false;
  return value['salt'] === undefined || typeof value['salt'] === 'string';
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function damaged(path: string, how: string): RotationError {
  return new RotationError(
    failureTypes.fileFailed,
    `the slot ${path} ${how}; expected a slot written by litellm-rotate; restore it from a backup of that file, and do not start another rotation before`,
    { facts: { path } },
  );
}
