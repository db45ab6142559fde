import { createHash, hkdfSync } from 'node:crypto';
import type { Secret } from '../rotation/secret.ts';

/**
 * The 32 bytes that legacy and v2 values are sealed with: SHA-256 of the signing key's UTF-8.
 * Source: LiteLLM 1.109.1, proxy/common_utils/encrypt_decrypt_utils.py, `_derive_key` and `decrypt_value`.
 */
export function deriveKey(signingKey: Secret): Uint8Array {
  return createHash('sha256').update(signingKey.reveal(), 'utf8').digest();
}

/**
 * The 32 bytes that v3 values are sealed with: HKDF-SHA-256 without a salt.
 * Source: LiteLLM's development branch after 1.109.1 (the same file); in no release so far.
 */
export function deriveV3Key(signingKey: Secret): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', signingKey.reveal(), '', 'litellm-at-rest-v3', 32));
}
