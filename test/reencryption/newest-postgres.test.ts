import { describe, expect, test } from 'vitest';
import {
  begin,
  beforeSalt,
  dump,
  failure,
  masterKey,
  never,
  opened,
  pending,
  previous,
  sealed,
  silent,
  transition,
  upgrade,
} from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase({ major: 18 });
const known = [previous, beforeSalt];
const derived = `alter table "LiteLLM_CredentialsTable"
  add column api_key text generated always as (credential_values ->> 'api_key') virtual`;
const { run: one } = lab;

describe('a rotation on Postgres 18', () => {
  test('swaps and restores every value', async () => {
    expect(await one('show server_version_num')).toMatchObject({
      server_version_num: expect.stringMatching(/^18/),
    });
    const before = await dump(lab.client);
    const database = lab.rotationDatabase();
    expect(await database.inspect()).toEqual([]);
    const fence = await begin(database);
    expect(await database.stage(transition, fence, silent, never)).toEqual({ values: 143, rows: 57 });
    expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({
      values: 143,
      lateValues: 0,
    });
    expect(await database.count(pending, known, silent, never)).toEqual({
      underExpected: 143,
      underOthers: 0,
      othersIn: [],
      unreadable: 1,
    });
    await database.restore(transition, masterKey, fence, silent);
    expect(await dump(lab.client)).toEqual(before);
  });

  test('writes no virtual generated column, whose values follow those that it is made from', async () => {
    await lab.client.query(derived);
    const before = await dump(lab.client);
    const database = lab.rotationDatabase();
    const { values, lines } = await database.inventory(known, masterKey.from, silent, never);
    expect(values).toBe(143);
    expect(lines.filter(({ column }) => column === 'api_key')).toEqual([]);
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    const ofCred = `select api_key from "LiteLLM_CredentialsTable" where credential_id = 'c-1'`;
    expect(opened((await one(ofCred))['api_key'] ?? '', pending)).toBe('PLAIN-cred');
    expect(await database.count(pending, known, silent, never)).toMatchObject({
      underExpected: 143,
      underOthers: 0,
    });
    await database.restore(transition, masterKey, fence, silent);
    expect(await dump(lab.client)).toEqual(before);
  });

  test('refuses a key whose column is marked NOT NULL but may hold nulls: such rows could not be found again', async () => {
    await lab.client.query('create table "Loose" (id text unique, value text)');
    await lab.client.query('insert into "Loose" values (null, $1)', [sealed('PLAIN')]);
    await lab.client.query('alter table "Loose" add constraint there not null id not valid');
    const database = lab.rotationDatabase();
    const fence = await begin(database);
    const error = await failure(database.stage(transition, fence, silent, never));
    expect(error).toMatchObject({ type: 'Refused', message: expect.stringContaining('Loose') });
    await lab.client.query(`update "Loose" set id = 'x'; alter table "Loose" validate constraint there`);
    expect(await database.stage(transition, fence, silent, never)).toEqual({ values: 144, rows: 58 });
  });

  test("is not ended by the database's own limit for transactions, which a stage of hours would exceed", async () => {
    const { name } = await one('select current_database() as name');
    await lab.client.query(`alter database ${name} set transaction_timeout = '50ms'`);
    // A second of writing, out of snapshots that each take longer than that.
    const database = lab.rotationDatabase({ throttleValuesPerSecond: 150, batchSize: 5, backOff: false });
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({ values: 143 });
  });
});

test('a re-encryption under the same key on Postgres 18 upgrades values, and with them what is derived from them', async () => {
  await lab.client.query(derived);
  const database = lab.rotationDatabase();
  const { upgraded } = await database.improve(upgrade, await begin(database), silent, never);
  expect(upgraded).toBeGreaterThan(0);
  const { api_key } = await one(`select api_key from "LiteLLM_CredentialsTable" where credential_id = 'c-1'`);
  expect(api_key).toMatch(/^v2:gcm:/);
  expect(opened(api_key ?? '', previous)).toBe('PLAIN-cred');
});
