import sodium, { ready } from 'libsodium-wrappers';
import { writeNonce } from './nonce-pool.ts';

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
  _crypto_secretbox_easy: Secretbox;
  _crypto_secretbox_open_easy: Secretbox;
}

/** Addresses but for the length, of 64 bits. Message and result may overlap. */
type Secretbox = (
  result: number,
  message: number,
  length: number,
  lengthHigh: number,
  nonce: number,
  key: number,
) => number;
const raw = (sodium as unknown as { readonly libsodium: RawSodium }).libsodium;

const keyAddress = raw._malloc(32);
let scratchBytes = 16 * 1024;
let scratchAddress = raw._malloc(scratchBytes);

/**
 * Opens nonce, tag and ciphertext (NaCl secretbox: XSalsa20-Poly1305), or undefined when another key sealed them.
 *
 * Not `crypto_secretbox_open_easy` of the wrappers, which throws for a wrong key: a scan tries every known key on every
 * candidate, so refusal is the common case, and an exception makes it ten times as dear.
 */
export function openSecretbox(sealed: Uint8Array, key: Uint8Array): Buffer | undefined {
  if (sealed.length < secretboxOverhead) return undefined;
  const heap = scratch(sealed.length);
  const box = scratchAddress + nonceBytes;
  const length = sealed.length - nonceBytes;
  heap.set(key, keyAddress);
  heap.set(sealed, scratchAddress);
  const opened = raw._crypto_secretbox_open_easy(box, box, length, 0, scratchAddress, keyAddress) === 0;
  const plaintext = opened ? copyOf(heap, box, length - macBytes) : undefined;
  heap.fill(0, scratchAddress, box + length);
  heap.fill(0, keyAddress, keyAddress + key.length);
  return plaintext;
}

/** Seals with a fresh nonce: nonce, tag, ciphertext. */
export function sealSecretbox(plaintext: Uint8Array, key: Uint8Array): Buffer {
  const length = secretboxOverhead + plaintext.length;
  const heap = scratch(length);
  const box = scratchAddress + nonceBytes;
  heap.set(key, keyAddress);
  writeNonce(heap, scratchAddress, nonceBytes);
  heap.set(plaintext, box + macBytes);
  const failed = raw._crypto_secretbox_easy(
    box,
    box + macBytes,
    plaintext.length,
    0,
    scratchAddress,
    keyAddress,
  );
  const sealed = copyOf(heap, scratchAddress, length);
  heap.fill(0, scratchAddress, scratchAddress + length);
  heap.fill(0, keyAddress, keyAddress + key.length);
  if (failed !== 0) throw new Error('secretbox: sealing failed');
  return sealed;
}

/** In Node's pool: an `ArrayBuffer` of its own for each value costs as much as the cipher, and half of it again to collect. */
function copyOf(heap: Buffer, address: number, length: number): Buffer {
  const copy = Buffer.allocUnsafe(length);
  heap.copy(copy, 0, address, address + length);
  return copy;
}

let memory = Buffer.from(raw.HEAPU8.buffer);

/** The module's memory, with `bytes` free at `scratchAddress`. Looked at anew each time: malloc may move it. */
function scratch(bytes: number): Buffer {
  if (bytes > scratchBytes) {
    raw._free(scratchAddress);
    scratchBytes = bytes;
    scratchAddress = raw._malloc(scratchBytes);
  }
  if (memory.buffer !== raw.HEAPU8.buffer) memory = Buffer.from(raw.HEAPU8.buffer);
  return memory;
}
