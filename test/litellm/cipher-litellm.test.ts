import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type LiteLLMCiphers, startLiteLLMCiphers } from '../../lab/litellm/ciphers.ts';
import { createValueCipher, looksSealed } from '../../src/litellm/cipher.ts';
import { Secret } from '../../src/rotation/secret.ts';

const key = 'sk-interop key with é, "quotes" and a CR\r';
const cipher = createValueCipher(new Secret(key));
const plaintexts = [
  '',
  'a',
  'sk-provider-secret',
  'os.environ/OPENAI_API_KEY',
  'nul \u0000 inside',
  '\ufeffwith a byte order mark',
  'Grüße, 世界, 🗝️',
  JSON.stringify({ type: 'service_account', private_key: `-----BEGIN\n${'x'.repeat(2048)}` }),
  ...Array.from({ length: 64 }, (_, length) => 'p'.repeat(length)),
];

let litellm: LiteLLMCiphers;
beforeAll(async () => {
  litellm = await startLiteLLMCiphers();
});
afterAll(() => litellm.stop());

function open(text: string): string | undefined {
  const opened = cipher.open(text);
  return opened === undefined
    ? undefined
    : new TextDecoder('utf-8', { ignoreBOM: true }).decode(opened.plaintext);
}

describe.for(['legacy', 'v2'] as const)('%s', (format) => {
  test('opens what LiteLLM seals', async () => {
    const sealed = await litellm.seal(plaintexts, key, format);
    expect(sealed.map(open)).toEqual(plaintexts);
    expect(sealed.every(looksSealed)).toBe(true);
    expect(sealed.map((text) => cipher.open(text)?.format)).toEqual(plaintexts.map(() => format));
  });

  test.for(['urlsafe', 'standard'] as const)('seals what LiteLLM opens, %s alphabet', async (alphabet) => {
    const sealed = plaintexts.map((text) => cipher.seal(Buffer.from(text), { format, marker: '', alphabet }));
    expect(await litellm.open(sealed, key)).toEqual(plaintexts);
  });

  test('opens nothing that LiteLLM sealed with another key, and the other way round', async () => {
    const sealed = await litellm.seal(plaintexts, `${key}\n`, format);
    expect(sealed.map(open)).toEqual(plaintexts.map(() => undefined));
    const ours = plaintexts.map((text) =>
      cipher.seal(Buffer.from(text), { format, marker: '', alphabet: 'urlsafe' }),
    );
    expect(await litellm.open(ours, `${key}\n`)).toEqual(plaintexts.map(() => undefined));
  });
});

/** One mangling of a sealed text; `at` is a fraction of its length. */
type Mangling =
  | { readonly kind: 'insert' | 'replace'; readonly at: number; readonly what: string }
  | { readonly kind: 'remove'; readonly at: number; readonly count: number }
  | { readonly kind: 'append'; readonly what: string }
  | { readonly kind: 'prepend'; readonly what: string }
  | { readonly kind: 'unpad' | 'standard' | 'mixed' | 'wrap' };

const scrap = fc.oneof(
  fc.constantFrom(
    '=',
    '==',
    '===',
    '-',
    '_',
    '+',
    '/',
    ' ',
    '\n',
    '\r\n',
    '\t',
    '*',
    ':',
    '"',
    '\u0000',
    'A',
    'é',
    '\u0141',
    '🗝️',
  ),
  fc.string({ minLength: 1, maxLength: 6 }),
);
const fraction = fc.double({ min: 0, max: 1, noNaN: true });
const mangling: fc.Arbitrary<Mangling> = fc.oneof(
  fc.record({ kind: fc.constantFrom('insert', 'replace'), at: fraction, what: scrap }),
  fc.record({ kind: fc.constant('remove'), at: fraction, count: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ kind: fc.constantFrom('append', 'prepend'), what: scrap }),
  fc.record({ kind: fc.constantFrom('unpad', 'standard', 'mixed', 'wrap') }),
);

function mangle(text: string, step: Mangling): string {
  switch (step.kind) {
    case 'insert':
    case 'replace': {
      const at = Math.floor(step.at * text.length);
      return (
        text.slice(0, at) + step.what + text.slice(at + (step.kind === 'replace' ? step.what.length : 0))
      );
    }
    case 'remove': {
      const at = Math.floor(step.at * text.length);
      return text.slice(0, at) + text.slice(at + step.count);
    }
    case 'append':
      return text + step.what;
    case 'prepend':
      return step.what + text;
    case 'unpad':
      return text.replace(/=+$/, '');
    case 'standard':
      return text.replaceAll('-', '+').replaceAll('_', '/');
    case 'mixed':
      return text.replace('-', '+').replace('_', '/');
    case 'wrap':
      return text.replace(/.{20}/g, '$&\n');
  }
}

test('opens exactly what LiteLLM opens, however the base64 is mangled', async () => {
  const bodies = ['', 'a', 'ab', 'abc', 'sk-provider-secret', 'x'.repeat(100)];
  const sealed = [...(await litellm.seal(bodies, key, 'legacy')), ...(await litellm.seal(bodies, key, 'v2'))];
  const cases = fc.sample(
    fc.tuple(fc.constantFrom(...sealed), fc.array(mangling, { minLength: 1, maxLength: 3 })),
    { numRuns: 6000, seed: 20261124 },
  );
  const texts = cases.map(([text, steps]) => steps.reduce(mangle, text));
  const theirs = await litellm.open(texts, key);
  const opened = theirs.filter((plaintext) => plaintext !== undefined).length;
  // A fuzz that only makes rubbish, or only harmless changes, would prove nothing.
  expect(opened).toBeGreaterThan(500);
  expect(opened).toBeLessThan(5500);
  const differences = texts
    .map((text, index) => ({ text, ours: open(text), theirs: theirs[index] }))
    .filter(({ ours, theirs: expected }) => ours !== expected);
  expect(differences).toEqual([]);
  expect(texts.filter((text, index) => theirs[index] !== undefined && !looksSealed(text))).toEqual([]);
}, 120_000);

test('opens what needs the second try with the standard alphabet, as LiteLLM does', async () => {
  const [text = ''] = await litellm.seal(['second try!'], key, 'legacy');
  const standard = text.replaceAll('-', '+').replaceAll('_', '/');
  // 51 bytes need no padding: one `-` too many leaves a digit over in the first alphabet, and is dropped in the second.
  const odd = [`-${standard}`, `${standard.slice(0, 7)}_${standard.slice(7)}`];
  expect(await litellm.open(odd, key)).toEqual(['second try!', 'second try!']);
  expect(odd.map(open)).toEqual(['second try!', 'second try!']);
  expect(odd.every(looksSealed)).toBe(true);
});
