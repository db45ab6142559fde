import { beforeEach, describe, expect, test } from 'vitest';
import { createHash } from 'node:crypto';
import { Secret } from '../../src/rotation/secret.ts';
import type { RotationDatabase } from '../../src/reencryption/port.ts';
import {
  begin,
  beforeSalt,
  dump,
  masterKey,
  never,
  opened,
  pending,
  plaintexts,
  previous,
  sealed,
  silent,
  transition,
  v2,
} from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const test1 = useTestDatabase();
let database: RotationDatabase;
const known = [previous, beforeSalt];

beforeEach(() => {
  database = test1.rotationDatabase();
});

const sorted = (found: readonly { plaintext: string }[]): string[] =>
  found.map(({ plaintext }) => plaintext).sort();
const { run: one } = test1;

describe('a rotation', () => {
  test('carries every value over, and leaves none under a previous key but keys of objects and client ids', async () => {
    const before = sorted(await plaintexts(test1.client, known));
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    expect(sorted(await plaintexts(test1.client, known))).toEqual(before);

    const report = await database.swap(transition, masterKey, fence, silent);
    // The inner layer of the value that is sealed twice is seen only by opening the outer one.
    expect(
      sorted(await plaintexts(test1.client, [pending]))
        .map(innermost)
        .sort(),
    ).toEqual(
      before
        .filter((text) => text !== 'a key stays' && text !== 'response id')
        .map(innermost)
        .sort(),
    );
    expect(new Set(sorted(await plaintexts(test1.client, known)))).toEqual(
      new Set(['a key stays', 'response id']),
    );
    expect(report).toEqual({ values: 143, rows: 57, lateValues: 0, tokenRow: 'none' });
    expect(await database.count(pending, known, silent, never)).toEqual({
      underExpected: 143,
      underOthers: 0,
      othersIn: [],
      unreadable: 1,
    });
    expect(await database.observe('r-1')).toEqual({ side: 'pending', staged: 57 });
  });

  test('keeps format and marker of each value', async () => {
    const shapes = async (): Promise<string[]> =>
      (await database.inventory([...known, pending], masterKey.from, silent, never)).lines
        .filter(({ remark }) => remark === '' || remark === 'sealed twice')
        .flatMap(({ table, column, format, marker, remark, values }) =>
          Array.from({ length: values }, () => [table, column, format, marker, remark].join(' ')),
        )
        .sort();
    const before = await shapes();
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    expect(await shapes()).toEqual(before);
  });

  test('keeps both layers of a value that is sealed twice, both under the new key', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    const { value } = await one(
      `select credential_values->>'api_key' as value from "LiteLLM_CredentialsTable" where credential_id = 'c-2'`,
    );
    expect(opened(opened(value ?? '', pending) ?? '', pending)).toBe('PLAIN-twice');
  });

  test('changes nothing but the sealed values: json numbers, NULL elements, generated columns, unreadable values', async () => {
    const masked = async (): Promise<string> =>
      JSON.stringify(await dump(test1.client)).replaceAll(
        /(?:v2:gcm:)?[A-Za-z0-9_-]{38,}={0,2}/g,
        '<sealed>',
      );
    const before = await masked();
    const unreadable = `select credential_values::text as value from "LiteLLM_CredentialsTable" where credential_id = 'c-3'`;
    const lost = await one(unreadable);
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    expect(await masked()).toBe(before);
    expect(await one(unreadable)).toEqual(lost);
    const { value, upper, short } = await one(
      `select "Va""lue"::text as value, upper, short from "Awkward ""Names"""`,
    );
    expect(value).toMatch(/^\{"b": 1e400, "a":12345678901234567890,"a" : "[^"]+", "z":-0\}$/);
    expect(upper).toBe(short?.toUpperCase());
  });

  test('a second swap returns the report of the first and writes nothing', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    const report = await database.swap(transition, masterKey, fence, silent);
    const after = await dump(test1.client);
    const next = await database.fence('r-1');
    expect(await database.swap(transition, masterKey, next, silent)).toEqual(report);
    expect(await dump(test1.client)).toEqual(after);
  });

  test('a swap without a stage does all of the work itself', async () => {
    const fence = await begin(database);
    expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({
      values: 143,
      lateValues: 143,
    });
    expect(await database.count(pending, known, silent, never)).toMatchObject({
      underOthers: 0,
      underExpected: 143,
    });
  });

  test('is refused with another pending key than the one it began with', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    const other = { ...transition, to: { ...pending, key: new Secret('another') } };
    await expect(database.stage(other, fence, silent, never)).rejects.toMatchObject({ type: 'WrongKey' });
    await expect(database.swap(other, masterKey, fence, silent)).rejects.toMatchObject({ type: 'WrongKey' });
  });

  test('refuses, by name, a table with sealed values and no key, and one without values does not matter', async () => {
    await test1.client.query('create table "NoKey" (value text); create table "Empty" (value text)');
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await test1.client.query('insert into "NoKey" values ($1)', [sealed('PLAIN')]);
    await expect(database.stage(transition, fence, silent, never)).rejects.toMatchObject({
      type: 'Refused',
      message: expect.stringContaining('NoKey'),
    });
    await expect(database.swap(transition, masterKey, fence, silent)).rejects.toMatchObject({
      type: 'Refused',
    });
    const { findings } = await database.inventory(known, masterKey.from, silent, never);
    expect(findings).toMatchObject([
      { severity: 'blocking', code: 'table-without-key', where: 'table NoKey' },
    ]);
  });

  test('a partitioned table is carried over through its root', async () => {
    await test1.client
      .query(`create table parts (id int, at date, value jsonb, primary key (id, at)) partition by range (at);
      create table parts_1 partition of parts for values from ('2026-01-01') to ('2027-01-01');
      create table parts_2 partition of parts for values from ('2027-01-01') to ('2028-01-01')`);
    // More of it than is read in one range of blocks.
    await test1.client.query(
      `insert into parts select i, make_date(2026 + i % 2, 2, 3), jsonb_build_object('a', $1::text, 'pad', repeat('x', 400)) from generate_series(1, 600) as i`,
      [sealed('PLAIN-part')],
    );
    const before = await dump(test1.client);
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    const { rows } = await test1.client.query<{ value: string }>(`select value->>'a' as value from parts`);
    expect(rows.map(({ value }) => opened(value, pending))).toEqual(rows.map(() => 'PLAIN-part'));
    await database.restore(transition, masterKey, fence, silent);
    expect(await dump(test1.client)).toEqual(before);
  });

  test('carries over a row whose key has a fixed length', async () => {
    await test1.client.query('create table of_somebody (id char(36) primary key, secret text)');
    await test1.client.query('insert into of_somebody values ($1, $2)', ['somebody', sealed('PLAIN-fixed')]);
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    const { secret } = await one('select secret from of_somebody');
    expect(opened(secret ?? '', pending)).toBe('PLAIN-fixed');
  });

  test('a database of many pages is staged whole, whatever the size of a batch', async () => {
    for (let at = 0; at < 3000; at += 1) {
      await test1.client.query('insert into "LiteLLM_Config" values ($1, $2)', [
        `many-${at}`,
        JSON.stringify({
          a: sealed(`PLAIN-many-${at}`, previous, v2),
          pad: at % 500 === 0 ? 'x'.repeat(300_000) : '',
        }),
      ]);
    }
    const small = test1.rotationDatabase({ batchSize: 37 });
    const fence = await begin(small);
    const progress: number[] = [];
    expect(await small.stage(transition, fence, ({ done }) => progress.push(done), never)).toEqual({
      values: 3143,
      rows: 3057,
    });
    expect(progress.length).toBeGreaterThan(50);
    expect(await small.swap(transition, masterKey, fence, silent)).toMatchObject({
      values: 3143,
      lateValues: 0,
    });
    expect(await small.count(pending, known, silent, never)).toMatchObject({
      underExpected: 3143,
      underOthers: 0,
    });
  });

  test('keeps to the throttle', async () => {
    const slow = test1.rotationDatabase({ throttleValuesPerSecond: 150 });
    const fence = await begin(slow);
    const since = performance.now();
    await slow.stage(transition, fence, silent, never);
    expect(performance.now() - since).toBeGreaterThan((143 / 150) * 1000 * 0.9);
  });
});

describe('the way back', () => {
  test('is byte for byte', async () => {
    const before = await dump(test1.client);
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    expect(await dump(test1.client)).not.toEqual(before);
    expect(await database.restore(transition, masterKey, fence, silent)).toEqual({
      rows: 57,
      resealedValues: 0,
    });
    expect(await dump(test1.client)).toEqual(before);
    expect(await database.observe('r-1')).toEqual({ side: 'previous', staged: 57 });
  });

  test('does nothing when the swap never happened, and nothing the second time', async () => {
    const before = await dump(test1.client);
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    expect(await database.restore(transition, masterKey, fence, silent)).toEqual({
      rows: 0,
      resealedValues: 0,
    });
    await database.swap(transition, masterKey, fence, silent);
    await database.restore(transition, masterKey, fence, silent);
    expect(await database.restore(transition, masterKey, fence, silent)).toEqual({
      rows: 0,
      resealedValues: 0,
    });
    expect(await dump(test1.client)).toEqual(before);
  });

  test('survives another stage, which says what was swapped and does nothing', async () => {
    const before = await dump(test1.client);
    const fence = await begin(database);
    const staged = await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    expect(await database.stage(transition, fence, silent, never)).toEqual(staged);
    await database.restore(transition, masterKey, fence, silent);
    expect(await dump(test1.client)).toEqual(before);
  });

  test('leads forward again: swap, restore, swap, restore', async () => {
    const before = await dump(test1.client);
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    const first = await database.swap(transition, masterKey, fence, silent);
    const after = await dump(test1.client);
    await database.restore(transition, masterKey, fence, silent);
    expect(await database.swap(transition, masterKey, fence, silent)).toEqual(first);
    expect(await dump(test1.client)).toEqual(after);
    await database.restore(transition, masterKey, fence, silent);
    expect(await dump(test1.client)).toEqual(before);
  });

  test('staged values are kept while they may be needed, and gone with their before-images after', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    await expect(database.dropStaged(fence, 'previous')).rejects.toMatchObject({ type: 'ChangedElsewhere' });
    await database.dropStaged(fence, 'pending');
    await database.dropStaged(fence, 'pending');
    expect(await database.observe('r-1')).toEqual({ side: 'pending', staged: 0 });
    expect(await one('select count(*)::int as n from litellm_rotate.staged')).toEqual({ n: 0 });
    await expect(database.restore(transition, masterKey, fence, silent)).rejects.toMatchObject({
      type: 'Refused',
    });
  });
});

describe("the master key's row", () => {
  const hash = (key: Secret): string => createHash('sha256').update(key.reveal()).digest('hex');
  const masterOnly = { known: [], to: previous };

  test.for(['plain', 'sha256'] as const)(
    'moves in its form (%s) and comes back byte for byte',
    async (form) => {
      const token = (key: Secret): string => (form === 'plain' ? key.reveal() : hash(key));
      await test1.client.query(
        `insert into "LiteLLM_VerificationToken" (token, metadata, updated_at) values ($1, $2, '2024-01-01')`,
        [token(masterKey.from), JSON.stringify({ secret: sealed('PLAIN-of-the-master') })],
      );
      const before = await dump(test1.client);
      const fence = await begin(database);
      expect((await database.inventory(known, masterKey.from, silent, never)).tokenRow).toBe(form);
      await database.stage(transition, fence, silent, never);
      expect((await database.swap(transition, masterKey, fence, silent)).tokenRow).toBe(form);
      const row = await one(
        `select rotation_count, updated_at > now() - interval '1 hour' as recent, metadata->>'secret' as secret
       from "LiteLLM_VerificationToken" where token = $1`,
        [token(masterKey.to)],
      );
      expect(row).toMatchObject({ rotation_count: 1, recent: true });
      expect(opened(row.secret ?? '', pending)).toBe('PLAIN-of-the-master');
      await database.restore(transition, masterKey, fence, silent);
      expect(await dump(test1.client)).toEqual(before);
    },
  );

  test('comes back with what LiteLLM has written to it since', async () => {
    await test1.client.query(
      `insert into "LiteLLM_VerificationToken" (token, updated_at, rotation_count) values ($1, '2024-01-01', 5)`,
      [hash(masterKey.from)],
    );
    const fence = await begin(database);
    await database.swap(masterOnly, masterKey, fence, silent);
    await test1.client.query(
      `update "LiteLLM_VerificationToken" set updated_at = '2030-01-01', spend = 3 where token = $1`,
      [hash(masterKey.to)],
    );
    await database.restore(masterOnly, masterKey, fence, silent);
    const row = await one(
      `select updated_at::text as updated_at, rotation_count, spend from "LiteLLM_VerificationToken" where token = $1`,
      [hash(masterKey.from)],
    );
    expect(row).toEqual({ updated_at: '2030-01-01 00:00:00', rotation_count: 5, spend: 3 });
  });

  test('moves alone when a salt key seals, and no value is touched', async () => {
    await test1.client.query('insert into "LiteLLM_VerificationToken" (token) values ($1)', [
      hash(masterKey.from),
    ]);
    const values = await dump(test1.client, ['LiteLLM_VerificationToken']);
    const before = await dump(test1.client);
    const fence = await begin(database);
    expect(await database.stage(masterOnly, fence, silent, never)).toEqual({ rows: 0, values: 0 });
    expect(await database.swap(masterOnly, masterKey, fence, silent)).toEqual({
      values: 0,
      rows: 0,
      lateValues: 0,
      tokenRow: 'sha256',
    });
    expect(await database.observe('r-1')).toMatchObject({ side: 'pending' });
    expect(await dump(test1.client, ['LiteLLM_VerificationToken'])).toEqual(values);
    await database.restore(masterOnly, masterKey, fence, silent);
    expect(await dump(test1.client)).toEqual(before);
  });
});

function innermost(text: string): string {
  return opened(text, previous) ?? opened(text, pending) ?? text;
}
