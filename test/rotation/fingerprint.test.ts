import { expect, test } from 'vitest';
import { createFingerprinter } from '../../src/rotation/fingerprint.ts';
import { Secret } from '../../src/rotation/secret.ts';

const pepper = Buffer.from('a pepper of the target database.');

test('names a key the same in every process with the same pepper', async () => {
  // python3 -c "import hashlib; print(hashlib.scrypt(b'sk-1234', salt=b'a pepper of the target database.', n=2**15, r=8, p=1, maxmem=2**26, dklen=4).hex())"
  expect(await createFingerprinter(pepper)(new Secret('sk-1234'))).toBe('4eb7-0298');
});

test('differs for another key and for another pepper', async () => {
  const [here, there] = [createFingerprinter(pepper), createFingerprinter(Buffer.from('another'))];
  const all = await Promise.all([
    here(new Secret('sk-1234')),
    here(new Secret('sk-1235')),
    here(new Secret('')),
    there(new Secret('sk-1234')),
  ]);
  expect(new Set(all).size).toBe(4);
  for (const fingerprint of all) expect(fingerprint).toMatch(/^[0-9a-f]{4}-[0-9a-f]{4}$/);
});

test('is made once for a key, and anew for another', () => {
  const fingerprint = createFingerprinter(pepper);
  const made = fingerprint(new Secret('sk-slow'));
  expect(fingerprint(new Secret('sk-slow'))).toBe(made);
  expect(fingerprint(new Secret('sk-slower'))).not.toBe(made);
});
