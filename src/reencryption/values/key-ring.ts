import { createValueCipher } from '../../litellm/cipher.ts';
import type { OpenedValue, ValueCipher } from '../../litellm/sealed-value.ts';
import type { NamedKey } from '../../rotation/keys.ts';

export interface RingHit {
  readonly opened: OpenedValue;
  readonly label: string;
}

/** Opens values under any of several keys. */
export interface KeyRing {
  /** The value and the key that opens it, or undefined when none does. */
  open(text: string): RingHit | undefined;
}

/**
 * The key that opened the last value is tried first: neighbours are mostly under one key, and no value opens under
 * two, so the order changes the speed and not the answer.
 */
export function createKeyRing(keys: readonly NamedKey[]): KeyRing {
  const ciphers: { readonly label: string; readonly cipher: ValueCipher }[] = keys.map(({ label, key }) => ({
    label,
    cipher: createValueCipher(key),
  }));
  return {
    open(text) {
      if (isDigest(text)) return undefined;
      for (let at = 0; at < ciphers.length; at += 1) {
        const entry = ciphers[at] as (typeof ciphers)[number];
        const opened = entry.cipher.open(text);
        if (opened === undefined) continue;
        if (at > 0) {
          ciphers.splice(at, 1);
          ciphers.unshift(entry);
        }
        return { opened, label: entry.label };
      }
      return undefined;
    },
  };
}

/** A sha256 digest in hex, of which LiteLLM keeps one a virtual key and request: every known key would be tried on it. */
function isDigest(text: string): boolean {
  return text.length === 64 && /^[0-9a-f]{64}$/.test(text);
}
