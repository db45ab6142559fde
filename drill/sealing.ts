import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import sodium, { ready } from 'libsodium-wrappers';

await ready;

/** LiteLLM's two formats of a sealed value. */
export type Format = 'legacy' | 'v2';

const v2Prefix = 'v2:gcm:';

/*
 * Written from LiteLLM's encrypt_decrypt_utils.py (1.110.2) alone: the drill's word about what a key opens must not be
 * the word of the code that it is about.
 */

/** Seals as `encrypt_value_helper` does. */
export function seal(text: string, signingKey: string, format: Format = 'legacy'): string {
  const key = createHash('sha256').update(signingKey).digest();
  if (format === 'v2') {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', key, nonce);
    const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    return v2Prefix + urlsafe(Buffer.concat([nonce, body, cipher.getAuthTag()]));
  }
  const nonce = randomBytes(sodium.crypto_secretbox_NONCEBYTES);
  return urlsafe(Buffer.concat([nonce, sodium.crypto_secretbox_easy(text, nonce, key)]));
}

/** Opens what `seal` makes; undefined for anything else, and for another key. */
export function open(text: string, signingKey: string): string | undefined {
  const key = createHash('sha256').update(signingKey).digest();
  const isV2 = text.startsWith(v2Prefix);
  const bytes = Buffer.from(isV2 ? text.slice(v2Prefix.length) : text, 'base64');
  try {
    if (!isV2) {
      const plain = sodium.crypto_secretbox_open_easy(bytes.subarray(24), bytes.subarray(0, 24), key);
      return Buffer.from(plain).toString('utf8');
    }
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12));
    decipher.setAuthTag(bytes.subarray(-16));
    return decipher.update(bytes.subarray(12, -16), undefined, 'utf8') + decipher.final('utf8');
  } catch {
    return undefined;
  }
}

/** What could be a sealed value anywhere in a text: 40 random bytes at least, in base64. */
const candidates = /(?:v2:gcm:)?[A-Za-z0-9+/_-]{38,}={0,2}/g;

/**
 * Puts each sealed value's plaintext in its place, also of values that are sealed twice, and counts what each of the keys
 * opened. What no key opens stays as it is.
 */
export function openAll(
  text: string,
  keys: readonly string[],
): { readonly text: string; readonly opened: number[] } {
  const opened = keys.map(() => 0);
  const inside = (whole: string): string =>
    whole.replace(candidates, (candidate) => {
      for (const [at, key] of keys.entries()) {
        const plain = open(candidate, key);
        if (plain === undefined) continue;
        opened[at] = (opened[at] ?? 0) + 1;
        return `<sealed ${inside(plain)}>`;
      }
      return candidate;
    });
  return { text: inside(text), opened };
}

function urlsafe(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}
