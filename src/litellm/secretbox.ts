import sodium, { ready } from 'libsodium-wrappers';
import { freshNonce } from './nonce-pool.ts';

const nonceBytes = 24;
const macBytes = 16;

/** A nonce and the authentication tag: what an empty plaintext is sealed to. */
export const secretboxOverhead = nonceBytes + macBytes;

await ready;

/** The compiled module below the wrappers, as far as it is used here; its types do not declare it. */
interface RawSodium {
  readonly HEAPU8: Uint8Array;
  _malloc(bytes: number): number;
  _free(address: number): void;
  _crypto_secretbox_open_easy(
    message: number,
    sealed: number,
    sealedBytes: number,
    sealedBytesHigh: number,
    nonce: number,
    key: number,
  ): number;
}
const raw = (sodium as unknown as { readonly libsodium: RawSodium }).libsodium;

const keyAddress = raw._malloc(32);
const nonceAddress = raw._malloc(nonceBytes);
let scratchBytes = 16 * 1024;
let scratchAddress = raw._malloc(scratchBytes);

/**
 * Opens nonce, tag and ciphertext (NaCl secretbox: XSalsa20-Poly1305), or undefined when another key sealed them.
 *
 * Not `crypto_secretbox_open_easy` of the wrappers, which throws for a wrong key: a scan tries every known key on every
 * candidate, so refusal is the common case, and an exception makes it ten times as dear.
 */
export function openSecretbox(sealed: Uint8Array, key: Uint8Array): Uint8Array | undefined {
  if (sealed.length < secretboxOverhead) return undefined;
  const length = sealed.length - nonceBytes;
  if (length > scratchBytes) {
    raw._free(scratchAddress);
    scratchBytes = length;
    scratchAddress = raw._malloc(scratchBytes);
  }
  // Read after malloc, which may have moved the heap.
  const heap = raw.HEAPU8;
  heap.set(key, keyAddress);
  heap.set(sealed.subarray(0, nonceBytes), nonceAddress);
  heap.set(sealed.subarray(nonceBytes), scratchAddress);
  const opened =
    raw._crypto_secretbox_open_easy(scratchAddress, scratchAddress, length, 0, nonceAddress, keyAddress) ===
    0;
  const plaintext = opened ? heap.slice(scratchAddress, scratchAddress + length - macBytes) : undefined;
  heap.fill(0, scratchAddress, scratchAddress + length);
  heap.fill(0, keyAddress, keyAddress + key.length);
  return plaintext;
}

/** Seals with a fresh nonce: nonce, tag, ciphertext. */
export function sealSecretbox(plaintext: Uint8Array, key: Uint8Array): Uint8Array {
  const nonce = freshNonce(nonceBytes);
  const sealed = new Uint8Array(secretboxOverhead + plaintext.length);
  sealed.set(nonce);
  sealed.set(sodium.crypto_secretbox_easy(plaintext, nonce, key), nonceBytes);
  return sealed;
}
