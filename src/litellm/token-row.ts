import { createHash } from 'node:crypto';
import type { Secret } from '../rotation/secret.ts';

/** How a key can stand in `LiteLLM_VerificationToken.token`. */
export interface TokenForms {
  /** The key itself: the oldest databases. As secret as the key. */
  readonly plain: Secret;
  /** SHA-256 in hex: the master key's row until February 2025, and every virtual key. */
  readonly sha256: string;
}

/**
 * The forms of a key in the table of virtual keys. A released LiteLLM writes no row for its master key any more; where
 * an older one left it, the row keeps the previous master key's name and must move with it.
 * Source: LiteLLM 1.110.2, `hash_token` in proxy/utils.py.
 */
export function tokenForms(key: Secret): TokenForms {
  return { plain: key, sha256: createHash('sha256').update(key.reveal(), 'utf8').digest('hex') };
}
