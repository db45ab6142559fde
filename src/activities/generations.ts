import { knownKeys } from '../litellm/known-keys.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import { type KeyFingerprints, type KeyGenerations, type KeyPair, signingKey } from '../rotation/keys.ts';
import type { Transition } from '../reencryption/port.ts';
import { currentKeys } from './current-keys.ts';
import type { Job, Ports, Target } from './ports.ts';
import type { Side, SideKeys } from './proofs.ts';

/** Both generations of the rotation's keys, which must have been made. */
export async function generationsOf(target: Target, job: Job): Promise<KeyGenerations> {
  return (await target.store.generations(job.rotation)) ?? refuseWithoutSlot(target, job);
}

/**
 * The keys that a side must have in force, and those of the other side. Of the previous side also without a slot while the
 * database is on it: the files hold its keys then, and the other side's were never used.
 */
export async function keysOfSide(target: Target, job: Job, side: Side): Promise<SideKeys> {
  const generations = await target.store.generations(job.rotation);
  if (generations !== undefined) return ofSide(generations, side);
  if (side === 'previous' && (await target.database.observe(job.rotation)).side === side)
    return { expected: await currentKeys(target, job), other: undefined };
  return refuseWithoutSlot(target, job);
}

function refuseWithoutSlot({ store }: Target, { rotation }: Job): never {
  throw new RotationError(
    failureTypes.changedElsewhere,
    `${store.description}: found no slot with the pending keys of rotation ${rotation}, expected the one that it made; see "recovery by hand" in docs/runbook.md`,
  );
}

export function ofSide({ previous, pending }: KeyGenerations, side: Side): SideKeys {
  return side === 'pending' ? { expected: pending, other: previous } : { expected: previous, other: pending };
}

export async function fingerprintsOf(ports: Ports, target: Target, pair: KeyPair): Promise<KeyFingerprints> {
  return {
    master: await ports.fingerprint(target, pair.master),
    salt: pair.salt === undefined ? null : await ports.fingerprint(target, pair.salt),
  };
}

/** How stored values are carried over. When the sealing key stays, nothing is: `known` is empty. */
export function transitionOf(target: Target, { previous, pending }: KeyGenerations): Transition {
  const from = { label: previous.salt === undefined ? 'master key' : 'salt key', key: signingKey(previous) };
  const to = {
    label: pending.salt === undefined ? 'pending master key' : 'pending salt key',
    key: signingKey(pending),
  };
  const stays = from.key.equals(to.key);
  const known = stays ? [] : knownKeys(previous, target.knownKeys).filter(({ key }) => !key.equals(to.key));
  return { known, from, to };
}

/** Every secret of a rotation, for the redactor. */
export function secretsOf({ previous, pending }: KeyGenerations) {
  return [previous.master, previous.salt, pending.master, pending.salt].filter(
    (secret) => secret !== undefined,
  );
}
