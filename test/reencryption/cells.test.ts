import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  begin,
  beforeSalt,
  marked,
  masterKey,
  never,
  opened,
  pending,
  previous,
  sealed,
  silent,
  transition,
  v2,
} from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();

/** Texts of JSON documents, built from tokens so that spellings which JSON.stringify never writes are among them. */
const blank = fc.constantFrom('', '', ' ', '\n', '\t ');
const number = fc.constantFrom(
  '0',
  '-0',
  '1e400',
  '12345678901234567890',
  '9007199254740993',
  '1.10',
  '-1E-7',
  '0.1e+2',
);
const text = fc.oneof(
  fc
    .string({ unit: 'grapheme', maxLength: 12 })
    .filter((value) => !value.includes('\0'))
    .map((value) => JSON.stringify(value)),
  fc.constantFrom(
    '""',
    String.raw`"\u00e9\/\\\""`,
    String.raw`"\ud83d\ude00"`,
    '"😀"',
    `"${'a'.repeat(64)}"`,
    '"sk-not-sealed"',
  ),
);
const secret = fc
  .record({
    plaintext: fc.string({ unit: 'grapheme', maxLength: 60 }),
    key: fc.constantFrom(previous, previous, beforeSalt),
    shape: fc.constantFrom(undefined, v2, marked),
    twice: fc.integer({ min: 0, max: 9 }),
  })
  .map(({ plaintext, key, shape, twice }) => {
    const once = sealed(plaintext, key, shape);
    return JSON.stringify(twice === 0 ? sealed(once, previous) : once);
  });
const { document } = fc.letrec<{ document: string; array: string; object: string }>((tie) => ({
  document: fc.oneof(
    { depthSize: 'small' },
    secret,
    number,
    text,
    fc.constantFrom('true', 'null'),
    tie('array'),
    tie('object'),
  ),
  array: fc
    .array(fc.tuple(blank, tie('document')), { maxLength: 5 })
    .map((items) => `[${items.map((item) => item.join('')).join(' ,')}]`),
  object: fc
    .array(fc.tuple(fc.oneof(text, fc.constantFrom('"a"', '"a"', '""')), blank, tie('document')), {
      maxLength: 6,
    })
    .map(
      (entries) => `{${entries.map(([key, space, value]) => `${key}${space}:${space}${value}`).join(', ')}}`,
    ),
}));

const cells = `select id, plain::text, binary_json::text as binary, documents::text, texts::text, inside from torture order by id`;
type Cells = Record<'id' | 'plain' | 'binary' | 'documents' | 'texts' | 'inside', string | null>;

/** The cell with each sealed value replaced by its plaintext, whichever of the keys it is under; by search and replace alone. */
function unsealed(cell: string | null): string | undefined {
  return cell?.replaceAll(/(?:litellm_enc::)?(?:v2:gcm:)?[A-Za-z0-9_+/-]{38,}={0,2}/g, (candidate) => {
    for (const key of [previous, beforeSalt, pending]) {
      const plaintext = opened(candidate, key);
      if (plaintext === undefined) continue;
      const inner = [previous, beforeSalt, pending]
        .map((each) => opened(plaintext, each))
        .find((found) => found !== undefined);
      return `<${JSON.stringify(inner ?? plaintext)}${inner === undefined ? '' : ' twice'}>`;
    }
    return candidate;
  });
}

test('of any json, jsonb, text and array cell, a rotation changes the sealed values and nothing else, and a restore brings each byte back', async () => {
  const database = lab.rotationDatabase();
  await lab.client.query(
    `create table torture (id int primary key, plain json, binary_json jsonb, documents json[], texts varchar[], inside text)`,
  );
  const documents = fc.sample(document, {
    numRuns: 600,
    seed: Number(process.env.FC_SEED ?? Date.now() % 1_000_000),
  });
  for (const [id, each] of documents.entries()) {
    const strings = (JSON.parse(JSON.stringify([each.slice(0, 40), sealed(`PLAIN-${id}`)])) as string[]).map(
      (value) => (value.isWellFormed() ? value : ''),
    );
    // jsonb cannot hold what is not a character, or numbers beyond its range; json can.
    await lab.client.query('insert into torture values ($1, $2, null, array[$2, null]::json[], $3, $4)', [
      id,
      each,
      id % 3 === 0 ? [strings[0], null, strings[1]] : [],
      each,
    ]);
  }
  await lab.client.query(`update torture set binary_json = plain::jsonb`);

  const before = (await lab.client.query<Cells>(cells)).rows;
  const holding = before.filter((row) =>
    Object.values(row).some((cell) => typeof cell === 'string' && unsealed(cell) !== cell),
  );
  expect(holding.length).toBeGreaterThan(150);
  const fence = await begin(database);
  await database.stage(transition, fence, silent, never);
  await database.swap(transition, masterKey, fence, silent);

  const after = (await lab.client.query<Cells>(cells)).rows;
  for (const [index, row] of after.entries()) {
    for (const name of ['plain', 'binary', 'documents', 'texts', 'inside'] as const) {
      expect(unsealed(row[name])).toBe(unsealed(before[index]?.[name] ?? null));
    }
  }
  expect(await database.count(pending, [previous, beforeSalt], silent, never)).toMatchObject({
    underOthers: 0,
  });
  await database.restore(transition, masterKey, fence, silent);
  expect((await lab.client.query<Cells>(cells)).rows).toEqual(before);
});
