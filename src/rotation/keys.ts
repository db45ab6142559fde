import type { Secret } from './secret.ts';

/** The two keys that can be rotated. */
export const keyNames = ['master', 'salt'] as const;
export type KeyName = (typeof keyNames)[number];

/** One generation of a deployment's keys. Without a salt key, the master key seals the stored values. */
export interface KeyPair {
  readonly master: Secret;
  readonly salt: Secret | undefined;
}

/** Both generations of a rotation. Where a key is not rotated, it is the same in both. */
export interface KeyGenerations {
  readonly previous: KeyPair;
  readonly pending: KeyPair;
}

/** A key that may have sealed stored values, and what to call it in a plan: `salt key`, `empty salt key`, ... */
export interface NamedKey {
  readonly label: string;
  readonly key: Secret;
}

/**
 * The key that seals stored values: the salt key if there is one, else the master key.
 * Source: LiteLLM, `get_salt_key` in proxy/common_utils/encrypt_decrypt_utils.py (1.110.2).
 */
export function signingKey(pair: KeyPair): Secret {
  return pair.salt ?? pair.master;
}

/** What names a key in history, logs and reports; see `createFingerprinter`. */
export type Fingerprint = string;

/** The fingerprints of one generation. */
export interface KeyFingerprints {
  readonly master: Fingerprint;
  readonly salt: Fingerprint | null;
}
