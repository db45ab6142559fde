import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { writeNonce } from './nonce-pool.ts';

const algorithm = 'aes-256-gcm';
const nonceBytes = 12;
const tagBytes = 16;
const options = { authTagLength: tagBytes } as const;

/** A nonce and the authentication tag: what an empty plaintext is sealed to. */
export const aesGcmOverhead = nonceBytes + tagBytes;

/** Opens nonce, ciphertext and tag (AES-256-GCM, no associated data), or undefined when another key sealed them. */
export function openAesGcm(sealed: Uint8Array, key: KeyObject): Buffer | undefined {
  if (sealed.length < aesGcmOverhead) return undefined;
  const tagAt = sealed.length - tagBytes;
  const decipher = createDecipheriv(algorithm, key, sealed.subarray(0, nonceBytes), options);
  decipher.setAuthTag(sealed.subarray(tagAt));
  // GCM is a stream mode: `update` returns everything, and `final` nothing but the verdict.
  const plaintext = decipher.update(sealed.subarray(nonceBytes, tagAt));
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return plaintext;
}

/** Seals with a fresh nonce: nonce, ciphertext, tag. */
export function sealAesGcm(plaintext: Uint8Array, key: KeyObject): Buffer {
  const sealed = Buffer.allocUnsafe(aesGcmOverhead + plaintext.length);
  writeNonce(sealed, 0, nonceBytes);
  const cipher = createCipheriv(algorithm, key, sealed.subarray(0, nonceBytes), options);
  sealed.set(cipher.update(plaintext), nonceBytes);
  cipher.final();
  sealed.set(cipher.getAuthTag(), nonceBytes + plaintext.length);
  return sealed;
}
