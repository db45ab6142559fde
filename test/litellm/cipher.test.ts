import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { createValueCipher, looksSealed } from '../../src/litellm/cipher.ts';
import type { SealedShape } from '../../src/litellm/sealed-value.ts';
import { Secret } from '../../src/rotation/secret.ts';

/**
 * Sealed under `sk-vector-key` by PyNaCl and Python's cryptography the way LiteLLM uses them, with the nonce 00 01 02...
 * v3 is in no release of LiteLLM that could be asked.
 */
const vectors = [
  {
    name: 'legacy',
    text: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXe0a1rpbEOR-T8SArNj8sQOhkDhCI_SKPep9RZI3bBnpUuA==',
    plaintext: 'os.environ/X é世',
    shape: { format: 'legacy', marker: '', alphabet: 'urlsafe' },
  },
  {
    name: 'legacy, empty',
    text: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYX-H1W0sG8k98upDKa3LpR9g==',
    plaintext: '',
    shape: { format: 'legacy', marker: '', alphabet: 'urlsafe' },
  },
  {
    name: 'legacy, standard alphabet',
    text: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXozJfeyx020fabosZuEtQC/R8DRqK72aPeoZBApI=',
    plaintext: 'sk-old-row?>?',
    shape: { format: 'legacy', marker: '', alphabet: 'standard' },
  },
  {
    name: 'v2',
    text: 'v2:gcm:AAECAwQFBgcICQoLf6DpQu3fynonAwRUypsPLdVqRmte7q3BdbLQ',
    plaintext: 'sk-provider',
    shape: { format: 'v2', marker: '', alphabet: 'urlsafe' },
  },
  {
    name: 'v2, empty',
    text: 'v2:gcm:AAECAwQFBgcICQoLOtP9p-swkwek419zZffabw==',
    plaintext: '',
    shape: { format: 'v2', marker: '', alphabet: 'urlsafe' },
  },
  {
    name: 'v3',
    text: 'v3:gcm:AAECAwQFBgcICQoLw14j2P_Ytzdmq-PmS59B_JM-bonqcl2su48g',
    plaintext: 'sk-provider',
    shape: { format: 'v3', marker: '', alphabet: 'urlsafe' },
  },
] as const;

const cipher = createValueCipher(new Secret('sk-vector-key'));
const otherCipher = createValueCipher(new Secret('sk-vector-key\r'));
const shapes: readonly SealedShape[] = (['legacy', 'v2', 'v3'] as const).flatMap((format) =>
  (['', 'litellm_enc::', 'resp_'] as const).flatMap((marker) =>
    (['urlsafe', 'standard'] as const).map((alphabet) => ({ format, marker, alphabet })),
  ),
);

function open(text: string): string | undefined {
  const opened = cipher.open(text);
  return opened === undefined ? undefined : Buffer.from(opened.plaintext).toString('utf8');
}

describe.for(vectors)('a $name vector', ({ text, plaintext, shape }) => {
  test('opens, and shows its shape', () => {
    const opened = cipher.open(text);
    expect(opened).toMatchObject(shape);
    expect(Buffer.from(opened?.plaintext ?? []).toString('utf8')).toBe(plaintext);
    expect(looksSealed(text)).toBe(true);
  });

  test('opens behind each marker, which is kept', () => {
    for (const marker of ['litellm_enc::', 'resp_'] as const) {
      expect(cipher.open(marker + text)).toMatchObject({ ...shape, marker });
      expect(looksSealed(marker + text)).toBe(true);
    }
  });

  test('does not open with another key', () => {
    expect(otherCipher.open(text)).toBeUndefined();
  });

  test('does not open when any one byte is flipped', () => {
    const prefix = shape.format === 'legacy' ? '' : `${shape.format}:gcm:`;
    const bytes = Buffer.from(text.slice(prefix.length), 'base64');
    for (let at = 0; at < bytes.length; at += 1) {
      const flipped = Buffer.from(bytes);
      flipped[at] = (flipped[at] as number) ^ 0x01;
      expect(open(prefix + flipped.toString('base64')), `byte ${at}`).toBeUndefined();
    }
  });

  test('does not open without its padding, or cut short', () => {
    const unpadded = text.replace(/=+$/, '');
    if (unpadded !== text) expect(open(unpadded)).toBeUndefined();
    for (let length = 0; length < unpadded.length; length += 1) {
      expect(open(text.slice(0, length)), `${length} characters`).toBeUndefined();
    }
  });
});

describe.for(shapes)('sealing as $format, marker "$marker", $alphabet alphabet', (shape) => {
  test('keeps bytes and shape', () => {
    const plaintext = randomBytes(300);
    const text = cipher.seal(plaintext, shape);
    const opened = cipher.open(text);
    expect(opened).toMatchObject(shape);
    expect(Buffer.from(opened?.plaintext ?? []).equals(plaintext)).toBe(true);
    expect(text).toMatch(/^(litellm_enc::|resp_)?(v[23]:gcm:)?([A-Za-z0-9_-]+|[A-Za-z0-9+/]+)={0,2}$/);
    expect(looksSealed(text)).toBe(true);
  });

  test('never uses a nonce twice', () => {
    const bytes = shape.format === 'legacy' ? 24 : 12;
    const start = shape.marker.length + (shape.format === 'legacy' ? 0 : 'v2:gcm:'.length);
    const nonces = Array.from({ length: 3000 }, () =>
      cipher.seal(Buffer.of(), shape).slice(start, start + (bytes / 3) * 4),
    );
    expect(new Set(nonces).size).toBe(nonces.length);
  });
});

test('a value larger than the scratch space opens, and smaller ones after it', () => {
  for (const size of [0, 1, 20_000, 3_000_000, 100, 5_000_000, 0]) {
    const plaintext = randomBytes(size);
    const opened = cipher.open(cipher.seal(plaintext, { format: 'legacy', marker: '', alphabet: 'urlsafe' }));
    expect(Buffer.from(opened?.plaintext ?? [1]).equals(plaintext), `${size} bytes`).toBe(true);
  }
});

test('carries a plaintext that is not UTF-8 over byte for byte', () => {
  const plaintext = Buffer.of(0xff, 0x00, 0xfe);
  const opened = cipher.open(cipher.seal(plaintext, { format: 'legacy', marker: '', alphabet: 'urlsafe' }));
  expect(Buffer.from(opened?.plaintext ?? []).equals(plaintext)).toBe(true);
});

test('a letter beyond ASCII is not taken for the digit in its low byte', () => {
  const text = vectors[0].text;
  // U+0141 ends in 0x41, which is A; Node's own decoder takes it for that.
  expect(open(`\u0141${text.slice(1)}`)).toBeUndefined();
  expect(open(`${text} \u0141`)).toBeUndefined();
});

test('says at once that ordinary strings are not sealed', () => {
  for (const text of [
    '',
    '*',
    'gpt-5',
    'https://api.example.invalid/v1',
    '0d6f8a52-6c1c-4b0e-9d6e-6cf0b4dd6a11',
    '9007199254740993',
    'v2:gcm:',
    'v2:gcm:AAAA',
    'litellm_enc::',
    'litellm_enc::os.environ/LANGFUSE_SECRET_KEY',
    'x'.repeat(46),
    'é'.repeat(200),
  ]) {
    expect(looksSealed(text), text).toBe(false);
    expect(open(text), text).toBeUndefined();
  }
});

test('a value under the empty key, which anybody can compute, opens with the empty key alone', () => {
  const empty = createValueCipher(new Secret(''));
  const text = empty.seal(Buffer.from('sk-x'), { format: 'v3', marker: '', alphabet: 'urlsafe' });
  expect(empty.open(text)).toBeDefined();
  expect(open(text)).toBeUndefined();
});
