import { createHash, hkdfSync } from 'node:crypto';
import type { Secret } from '../rotation/secret.ts';

/**
 * The 32 bytes that legacy and v2 values are sealed with: SHA-256 of the signing key's UTF-8.
 * Source: LiteLLM 1.110.2, proxy/common_utils/encrypt_decrypt_utils.py, `_derive_key` and `decrypt_value`.
 */
export function deriveKey(signingKey: Secret): Uint8Array {
  return createHash('sha256').update(signingKey.reveal(), 'utf8').digest();
}

/**
 * The 32 bytes that v3 values are sealed with: HKDF-SHA-256 without a salt.
 * Source: a development branch of LiteLLM of November 2026 (the same file); in no release up to 1.110.2.
 */
export function deriveV3Key(signingKey: Secret): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', signingKey.reveal(), '', 'litellm-at-rest-v3', 32));
}
