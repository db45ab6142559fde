import { randomFillSync } from 'node:crypto';

// One system call a nonce costs more than the encryption itself.
const pool = Buffer.alloc(24 * 1024);
let used = pool.length;

/** Writes fresh random bytes, never handed out twice, into `target` at index `at`. At most 24. */
export function writeNonce(target: Uint8Array, at: number, length: number): void {
  if (used + length > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  pool.copy(target, at, used, used + length);
  used += length;
}
