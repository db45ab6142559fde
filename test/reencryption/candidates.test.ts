import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sealWithLiteLLM } from '../../lab/litellm/ciphers.ts';
import { stopAll } from '../../lab/cleanup.ts';
import { type Postgres, startPostgres, withClient } from '../../lab/postgres.ts';
import { sealedCandidateMinLength } from '../../src/litellm/candidate.ts';
import { createValueCipher, looksSealed } from '../../src/litellm/cipher.ts';
import type { SealedShape } from '../../src/litellm/sealed-value.ts';
import { readCatalog } from '../../src/reencryption/postgres/catalog.ts';
import { selectCandidates } from '../../src/reencryption/postgres/scan.ts';
import { Secret } from '../../src/rotation/secret.ts';

let postgres: Postgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(stopAll);

/** Which of the cells Postgres finds, in a column of the type. */
async function found(cells: readonly string[], type: 'text' | 'json' | 'jsonb'): Promise<boolean[]> {
  return withClient(postgres.url('postgres'), async (client) => {
    await client.query(`drop schema if exists searched cascade; create schema searched;
      create table searched.t (at int primary key, cell ${type})`);
    await client.query(
      `insert into searched.t select at, cell::${type} from unnest($1::text[]) with ordinality as given (cell, at)`,
      [cells],
    );
    const [relation] = await readCatalog(client, 'searched', []);
    if (relation === undefined) throw new Error('no table');
    const { rows } = await client.query<{ k1: string }>(selectCandidates(relation, relation.columns));
    const places = new Set(rows.map(({ k1 }) => Number(k1)));
    return cells.map((_, index) => places.has(index + 1));
  });
}

/** Every format, marker and alphabet, and every length of the last quad; from LiteLLM where it writes the format. */
async function sealedTexts(): Promise<string[]> {
  const plaintexts = ['', 'a', 'ab', 'abc', 'x'.repeat(2000)];
  const cipher = createValueCipher(new Secret('sk-candidates'));
  const ours = (['legacy', 'v2', 'v3'] as const).flatMap((format) =>
    (['', 'litellm_enc::', 'resp_'] as const).flatMap((marker) =>
      (['urlsafe', 'standard'] as const).flatMap((alphabet) => {
        const shape: SealedShape = { format, marker, alphabet };
        return Array.from({ length: 40 }, (_, index) => cipher.seal(randomBytes(index), shape));
      }),
    ),
  );
  const legacy = await sealWithLiteLLM(plaintexts, 'sk-candidates', 'legacy');
  return [...legacy, ...(await sealWithLiteLLM(plaintexts, 'sk-candidates', 'v2')), ...ours];
}

describe('the search in Postgres finds every sealed value', () => {
  test('as a text cell', async () => {
    const texts = await sealedTexts();
    expect(texts.every(looksSealed)).toBe(true);
    expect(await found(texts, 'text')).toEqual(texts.map(() => true));
    expect(Math.min(...texts.map((text) => text.length))).toBe(sealedCandidateMinLength);
  });

  test.for(['json', 'jsonb'] as const)(
    'in a %s cell: alone, nested, and in JSON inside a string',
    async (type) => {
      const texts = await sealedTexts();
      const cells = texts.flatMap((text) => [
        JSON.stringify(text),
        JSON.stringify({ logging: [{ callback_vars: { langfuse_secret_key: text } }], ключ: 1 }),
        JSON.stringify({ env: JSON.stringify({ TOKEN: text }) }),
      ]);
      expect(await found(cells, type)).toEqual(cells.map(() => true));
    },
  );

  test.for(['json', 'jsonb', 'text'] as const)(
    'wherever it stands in a short %s cell, whatever letters stand around it',
    async (type) => {
      const cipher = createValueCipher(new Secret('sk-candidates'));
      const shortest = [0, 1, 2, 7].map((length) =>
        cipher.seal(randomBytes(length), { format: 'legacy', marker: '', alphabet: 'urlsafe' }),
      );
      const cells = shortest.flatMap((text) =>
        Array.from({ length: 60 }, (_, before) =>
          ['a', 'ключ'].flatMap((letters) =>
            [0, 1, 20, 50].map((after) =>
              JSON.stringify({
                [letters.repeat(before).slice(0, before)]: text,
                z: letters.repeat(after).slice(0, after),
              }),
            ),
          ),
        ).flat(),
      );
      expect(await found(cells, type)).toEqual(cells.map(() => true));
    },
  );
});

test('passes over what is plainly none', async () => {
  const cells = [
    'gpt-5',
    'A sentence that is longer than fifty-four characters, but has blanks in it, as most have.',
    'https://api.example.invalid/v1/chat/completions?model=gpt&stream=true',
    'a'.repeat(53),
    'v2:gcm:too-short',
  ];
  expect(await found(cells, 'text')).toEqual(cells.map(() => false));
  const metadata = { owner: 'someone', service_account_id: null, tags: ['a', 'b'] };
  const documents = [metadata, { ...metadata, digits: 'a'.repeat(53) }].map((document) =>
    JSON.stringify(document),
  );
  expect(await found(documents, 'jsonb')).toEqual([false, false]);
});

test('misses a value with foreign characters between its digits, which only looksSealed sees', async () => {
  const cipher = createValueCipher(new Secret('sk-candidates'));
  const wrapped = cipher
    .seal(Buffer.from('sk-provider'), { format: 'legacy', marker: '', alphabet: 'urlsafe' })
    .replace(/.{20}/g, '$&\n');
  expect(cipher.open(wrapped)).toBeDefined();
  expect(looksSealed(wrapped)).toBe(true);
  expect(await found([wrapped], 'text')).toEqual([false]);
});
