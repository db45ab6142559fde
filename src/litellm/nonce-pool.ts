import { randomFillSync } from 'node:crypto';

// One system call a nonce costs more than the encryption itself.
const pool = new Uint8Array(24 * 1024);
let used = pool.length;

/** Fresh random bytes, never handed out twice. At most 24. */
export function freshNonce(length: number): Uint8Array {
  if (used + length > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += length;
  return pool.slice(used - length, used);
}
