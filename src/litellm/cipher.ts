import { createSecretKey } from 'node:crypto';
import type { Secret } from '../rotation/secret.ts';
import { openAesGcm, sealAesGcm } from './aes-gcm.ts';
import { deriveKey, deriveV3Key } from './key-derivation.ts';
import { readSealedText, writeSealedText } from './sealed-text.ts';
import type { SealedReading } from './sealed-text.ts';
import type { SealedShape, ValueCipher } from './sealed-value.ts';
import { openSecretbox, sealSecretbox } from './secretbox.ts';

export { looksSealed } from './sealed-text.ts';

/**
 * Opens and seals what LiteLLM stores under one signing key, in each of its formats.
 *
 * `open` opens every text that LiteLLM opens, byte for byte, and one thing more: a plaintext that is not UTF-8. LiteLLM
 * cannot read such a value (it never writes one), but it is under this key, so it counts and is carried over.
 */
export function createValueCipher(key: Secret): ValueCipher {
  const legacyKey = deriveKey(key);
  const gcmKeys = { v2: createSecretKey(legacyKey), v3: createSecretKey(deriveV3Key(key)) };

  function openReading({ format, sealed }: SealedReading): Buffer | undefined {
    return format === 'legacy' ? openSecretbox(sealed, legacyKey) : openAesGcm(sealed, gcmKeys[format]);
  }

  return {
    open(text) {
      for (const reading of readLastText(text)) {
        const plaintext = openReading(reading);
        if (plaintext === undefined) continue;
        const { marker, format, alphabet } = reading;
        return { marker, format, alphabet, plaintext };
      }
      return undefined;
    },

    seal(plaintext, shape: SealedShape) {
      const sealed =
        shape.format === 'legacy'
          ? sealSecretbox(plaintext, legacyKey)
          : sealAesGcm(plaintext, gcmKeys[shape.format]);
      return writeSealedText(sealed, shape);
    },
  };
}

// A scan asks one cipher a known key about the same text in turn; it is decoded once. Ciphertext only, no plaintext.
let lastText = '';
let lastReadings: readonly SealedReading[] = [];

function readLastText(text: string): readonly SealedReading[] {
  if (text !== lastText) {
    lastReadings = readSealedText(text);
    lastText = text;
  }
  return lastReadings;
}
