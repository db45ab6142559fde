import type { Fence } from '../rotation/fence.ts';
import type { Finding } from '../rotation/finding.ts';
import type { KeyGenerations, KeyName, KeyPair } from '../rotation/keys.ts';

/** What a look at a store found; nothing was written. */
export interface StoreInspection {
  readonly findings: readonly Finding[];
  /** The keys that the service would be started with now, or undefined when a blocking finding says why there are none. */
  readonly current: KeyPair | undefined;
  /** Where the keys stand, without any of them, whichever is rotated. For the plan. */
  readonly places: readonly {
    /** Path and line. */
    readonly where: string;
    readonly key: KeyName;
    readonly name: string;
    readonly action: 'replace' | 'add' | 'remove';
  }[];
}

/** Which generation a store holds, told by comparing bytes with the images fixed by `prepare`. */
export type StoreSide =
  /** Every part is as it was before the rotation. */
  | 'previous'
  /** Every part holds the pending generation. */
  | 'pending'
  /** Some parts are on one side and some on the other: a promote or a restore stopped half way. */
  | 'mixed'
  /** At least one part is on neither side: somebody else changed it. */
  | 'changed';

export interface StoreObservation {
  readonly side: StoreSide;
  /** One line a part, such as `/root/.007: pending`. */
  readonly parts: readonly { readonly where: string; readonly side: 'previous' | 'pending' | 'changed' }[];
  /** Whether a slot with both generations exists for the rotation. */
  readonly prepared: boolean;
}

/**
 * Where a deployment's keys live. A store keeps a *slot* for a rotation: the pending keys, the previous ones, and the
 * exact before- and after-image of every part, durable and readable by its owner only, from `prepare` to `discard`.
 *
 * Every method looks first and then acts, so that a second call changes nothing more. Errors are `RotationError`s:
 * `ChangedElsewhere` when a part is on neither side, `FileFailed` when it cannot be read or written, `FencedOut`.
 */
export interface SecretStore {
  /** For people: `env files /root/.007 and /opt/litellm/env.litellm`. */
  readonly description: string;
  /** Reads only. A slot is a blocking finding unless it is the one of `rotation`. */
  inspect(rotation?: string): Promise<StoreInspection>;
  /**
   * Fixes the pending keys of a rotation: durable, read back and compared before it returns. The first call for a
   * rotation calls `generate`; every later call returns what the first one fixed. A slot of another rotation is refused.
   */
  prepare(rotation: string, fence: Fence, generate: (current: KeyPair) => KeyPair): Promise<KeyGenerations>;
  /** Both generations of the rotation's slot, or undefined when there is none. Works before and after `promote`. */
  generations(rotation: string): Promise<KeyGenerations | undefined>;
  /** Reads only. */
  observe(rotation: string): Promise<StoreObservation>;
  /** Pending becomes current in every part. Refuses, before the first write, when any part is on neither side. */
  promote(
    rotation: string,
    fence: Fence,
  ): Promise<{ readonly written: number; readonly alreadyDone: number }>;
  /** Every part byte for byte as `prepare` found it: bytes, mode, owner, symlink. */
  restore(
    rotation: string,
    fence: Fence,
  ): Promise<{ readonly written: number; readonly alreadyDone: number }>;
  /**
   * Destroys the slot. Refuses unless every part is on the side named, so that no key is destroyed that is still needed.
   * On the previous side also a part that somebody else changed will do, when no part holds anything of the pending one.
   */
  discard(rotation: string, fence: Fence, expected: 'previous' | 'pending'): Promise<void>;
}
