import { createHmac, randomBytes, scrypt } from 'node:crypto';
import type { Fingerprint } from './keys.ts';
import type { Secret } from './secret.ts';

/** Names a key; rejects only when memory runs out. */
export type Fingerprinter = (key: Secret) => Promise<Fingerprint>;

/** 32 MiB and about 0.1 s a guess (RFC 7914; OWASP's password storage sheet, 2^15 variant). */
const cost = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 } as const;

/**
 * Names keys in histories, logs and reports: eight hex digits such as `3f9a-22c1`, the same for every rotation with the
 * same pepper (random bytes of the target's own database).
 *
 * Fingerprints land where many can read, and a master key may be short or a dictionary word. So a plain hash will not
 * do: without the pepper nothing can be guessed at; with it, each guess costs a scrypt; and 32 bits tell two keys of one
 * target apart, while one guess in four billion fits by chance, so that a hit alone proves nothing.
 */
export function createFingerprinter(pepper: Uint8Array): Fingerprinter {
  const known = new Map<string, Promise<Fingerprint>>();
  // The memo must not be a second place that holds the keys.
  const memoKey = randomBytes(32);

  return (key) => {
    const name = createHmac('sha256', memoKey).update(key.reveal()).digest('base64');
    const existing = known.get(name);
    if (existing !== undefined) return existing;
    const made = fingerprint(key, pepper);
    known.set(name, made);
    made.catch(() => known.delete(name));
    return made;
  };
}

function fingerprint(key: Secret, pepper: Uint8Array): Promise<Fingerprint> {
  return new Promise((resolve, reject) => {
    scrypt(key.reveal(), pepper, 4, cost, (error, digest) => {
      if (error !== null) return reject(error);
      const hex = digest.toString('hex');
      resolve(`${hex.slice(0, 4)}-${hex.slice(4)}`);
    });
  });
}
