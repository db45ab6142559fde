import { Client } from 'pg';
import { beforeEach, describe, expect, test } from 'vitest';
import type { RotationDatabase } from '../../src/reencryption/port.ts';
import { Secret } from '../../src/rotation/secret.ts';
import {
  begin,
  beforeSalt,
  commitMeanwhile,
  dump,
  fillModels,
  marked,
  masterKey,
  never,
  opened,
  pending,
  plaintexts,
  previous,
  sealed,
  silent,
  transition,
} from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();
let database: RotationDatabase;
const known = [previous, beforeSalt];

beforeEach(() => {
  database = lab.rotationDatabase();
});

const { run } = lab;
const insertModel = (id: string, params: Record<string, unknown>): Promise<unknown> =>
  run('insert into "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params) values ($1, $1, $2)', [
    id,
    JSON.stringify(params),
  ]);
const param = async (id: string, name: string): Promise<string> =>
  (
    await run('select litellm_params->>$2 as value from "LiteLLM_ProxyModelTable" where model_id = $1', [
      id,
      name,
    ])
  ).value as string;

describe('between stage and swap', () => {
  test('a value in a column that appeared after its row was staged is found by another stage', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await run('alter table "LiteLLM_ProxyModelTable" add column extra jsonb');
    await run(`update "LiteLLM_ProxyModelTable" set extra = $1 where model_id = 'model-1'`, [
      JSON.stringify({ key: sealed('PLAIN-extra') }),
    ]);
    await database.stage(transition, fence, silent, never);
    expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({ lateValues: 0 });
    const found = (await plaintexts(lab.client, [pending])).map(({ plaintext }) => plaintext);
    expect(found).toContain('PLAIN-extra');
  });

  const other = { label: beforeSalt.label, key: new Secret('sk-not-yet-the-one') };
  test.each([
    { how: 'was added', known: [previous], again: true },
    { how: 'was added', known: [previous], again: false },
    { how: 'took the place of another under its label', known: [previous, other], again: true },
    { how: 'took the place of another under its label', known: [previous, other], again: false },
  ])(
    'a value under a known key that $how after its row was staged is carried over (another stage: $again)',
    async ({ known, again }) => {
      const fence = await begin(database);
      const before = await dump(lab.client);
      // model-0 and its like hold a value under either key in one cell, and were staged for the one that was known.
      const fewer = { ...transition, known };
      const staged = await database.stage(fewer, fence, silent, never);
      if (again)
        expect((await database.stage(transition, fence, silent, never)).values).toBe(staged.values + 6);
      const swapped = await database.swap(transition, masterKey, fence, silent);
      expect(swapped).toMatchObject({ values: staged.values + 6, rows: staged.rows });
      if (again) expect(swapped.lateValues).toBe(0);
      expect(opened(await param('model-0', 'api_key'), pending)).toBe('PLAIN-key-0');
      // On the way back what was staged is all that there is, whatever keys are known by then.
      await database.restore(fewer, masterKey, fence, silent);
      expect(await dump(lab.client)).toEqual(before);
    },
  );

  test.each([
    // new: 2; model-1: its changed key; key-1: 1. The other values of model-1 were staged and are not sealed again.
    { when: 'are carried over as they are', again: false },
    { when: 'are caught up with by another stage, which leaves the swap nothing to seal', again: true },
  ])(
    'rows that were inserted, updated, emptied and deleted under the previous key $when',
    async ({ again }) => {
      const fence = await begin(database);
      await database.stage(transition, fence, silent, never);
      await insertModel('new', { api_key: sealed('PLAIN-new'), other: sealed('PLAIN-new-2', beforeSalt) });
      await run(
        `update "LiteLLM_ProxyModelTable" set litellm_params = jsonb_set(litellm_params, '{api_key}', to_jsonb($1::text)) where model_id = 'model-1'`,
        [sealed('PLAIN-changed')],
      );
      await run(`update "LiteLLM_ProxyModelTable" set model_name = 'renamed' where model_id = 'model-2'`);
      await run(`update "LiteLLM_ProxyModelTable" set litellm_params = '{}' where model_id = 'model-3'`);
      await run(`delete from "LiteLLM_ProxyModelTable" where model_id = 'model-4'`);
      await run(`update "LiteLLM_VerificationToken" set spend = spend + 1`);
      await run(`update "LiteLLM_VerificationToken" set metadata = $1 where key_alias = 'key-1'`, [
        JSON.stringify({ callback_vars: sealed('PLAIN-late-callback', previous, marked) }),
      ]);
      const expected = (await plaintexts(lab.client, known)).map(({ plaintext }) => plaintext);
      const before = await dump(lab.client);

      const staged = again ? await database.stage(transition, fence, silent, never) : undefined;
      const report = await database.swap(transition, masterKey, fence, silent);
      expect(report.lateValues).toBe(again ? 0 : 4);
      // A deleted row leaves no trace but its absence: that is the swap's to see.
      if (staged !== undefined) expect(staged).toEqual({ rows: report.rows + 1, values: report.values + 3 });
      expect(await database.count(pending, known, silent, never)).toMatchObject({
        underExpected: report.values,
        underOthers: 0,
      });
      const found = (await plaintexts(lab.client, [pending])).map(({ plaintext }) => plaintext);
      for (const plaintext of ['PLAIN-new', 'PLAIN-new-2', 'PLAIN-changed', 'PLAIN-late-callback']) {
        expect(found).toContain(plaintext);
      }
      expect(found).toHaveLength(
        expected.filter((text) => text !== 'a key stays' && text !== 'response id').length,
      );
      expect(opened(await param('model-2', 'model'), pending)).toBe('openai/gpt-2');

      await database.restore(transition, masterKey, fence, silent);
      expect(await dump(lab.client)).toEqual(before);
    },
  );

  test('a table and a column that were added hold nothing that is left behind', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await run(
      'create table "LiteLLM_NextStore" (id bigint generated always as identity primary key, secret text)',
    );
    await run('insert into "LiteLLM_NextStore" (secret) values ($1)', [sealed('PLAIN-next')]);
    await run(`alter table "LiteLLM_Config" add column extra jsonb`);
    await run(`update "LiteLLM_Config" set extra = $1 where param_name = 'in_a_string'`, [
      JSON.stringify({ a: sealed('PLAIN-extra') }),
    ]);
    const before = await dump(lab.client);
    await database.swap(transition, masterKey, fence, silent);
    expect(await database.count(pending, known, silent, never)).toMatchObject({
      underExpected: 145,
      underOthers: 0,
    });
    await database.restore(transition, masterKey, fence, silent);
    expect(await dump(lab.client)).toEqual(before);
  });

  test('values that a busy writer saves all the while are neither lost nor left behind', async () => {
    const fence = await begin(database);
    const writes = new AbortController();
    const current = new Map<string, string>();
    let count = 0;
    const writing = (async () => {
      const client = new Client({ connectionString: lab.url });
      await client.connect();
      while (!writes.signal.aborted) {
        count += 1;
        const id = `busy-${count % 60}`;
        if (count % 11 === 0) {
          await client.query('delete from "LiteLLM_ProxyModelTable" where model_id = $1', [id]);
          current.delete(id);
          continue;
        }
        await client.query(
          `insert into "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params) values ($1, $1, $2)
           on conflict (model_id) do update set litellm_params = excluded.litellm_params`,
          [id, JSON.stringify({ api_key: sealed(`PLAIN-busy-${count}`), stays: sealed(`PLAIN-${id}`) })],
        );
        current.set(id, `PLAIN-busy-${count}`);
      }
      await client.end();
    })();
    for (let round = 0; round < 4; round += 1) await database.stage(transition, fence, silent, never);
    await new Promise((resolve) => setTimeout(resolve, 300));
    writes.abort();
    await writing;
    expect(count).toBeGreaterThan(100);
    const before = await dump(lab.client);
    await database.swap(transition, masterKey, fence, silent);
    for (const [id, plaintext] of current)
      expect(opened(await param(id, 'api_key'), pending)).toBe(plaintext);
    expect(await database.count(pending, known, silent, never)).toMatchObject({ underOthers: 0 });
    await database.restore(transition, masterKey, fence, silent);
    expect(await dump(lab.client)).toEqual(before);
  });

  test('what is written while stage catches up is caught up with, too, so that the swap finds nothing', async () => {
    await fillModels(lab.client, 300);
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    const store = (from: number) =>
      `update "LiteLLM_ProxyModelTable" set litellm_params = '{"a": "${sealed(`PLAIN-since-${from}`)}"}'
       where model_id in (select 'filled-' || i from generate_series(${from}, ${from + 149}) i)`;
    await run(store(0));
    let told = false;
    const meanwhile = () => {
      if (told) return;
      told = true;
      commitMeanwhile(lab.url, store(150));
    };
    await database.stage(transition, fence, meanwhile, never);
    expect(told).toBe(true);
    expect((await database.swap(transition, masterKey, fence, silent)).lateValues).toBe(0);
    for (const id of ['filled-0', 'filled-299'])
      expect(opened(await param(id, 'a'), pending)).toMatch(/^PLAIN-since-/);
  });

  test('a transaction that was open before stage and commits after it is seen', async () => {
    const fence = await begin(database);
    await lab.client.query('begin');
    await insertModel('slow', { api_key: sealed('PLAIN-slow') });
    await database.stage(transition, fence, silent, never);
    await lab.client.query('commit');
    expect((await database.swap(transition, masterKey, fence, silent)).lateValues).toBe(1);
    expect(opened(await param('slow', 'api_key'), pending)).toBe('PLAIN-slow');
  });
});

describe('after the swap', () => {
  test('what was written with the new key is sealed with the previous one, and all else comes back byte for byte', async () => {
    const before = await dump(lab.client);
    const beforeKey1 = await param('model-1', 'model');
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    await insertModel('new', { api_key: sealed('PLAIN-new', pending) });
    await run(
      `update "LiteLLM_ProxyModelTable" set litellm_params = jsonb_set(litellm_params, '{api_key}', to_jsonb($1::text)) where model_id = 'model-1'`,
      [sealed('PLAIN-changed', pending)],
    );
    await run(`update "LiteLLM_ProxyModelTable" set model_name = 'renamed' where model_id = 'model-2'`);
    await run(`delete from "LiteLLM_ProxyModelTable" where model_id = 'model-4'`);

    expect(await database.restore(transition, masterKey, fence, silent)).toMatchObject({ resealedValues: 2 });
    expect(await database.count(pending, known, silent, never)).toMatchObject({
      underExpected: 0,
      unreadable: 1,
    });
    expect(opened(await param('new', 'api_key'), previous)).toBe('PLAIN-new');
    expect(opened(await param('model-1', 'api_key'), previous)).toBe('PLAIN-changed');
    expect(await param('model-1', 'model')).toBe(beforeKey1);

    await run(`delete from "LiteLLM_ProxyModelTable" where model_id in ('new', 'model-1')`);
    await run(`update "LiteLLM_ProxyModelTable" set model_name = 'm-2' where model_id = 'model-2'`);
    const mine = (rows: readonly string[] | undefined): readonly string[] | undefined =>
      rows?.filter((row) => !/^\((model-1|model-4),/.test(row));
    const after = await dump(lab.client);
    expect({ ...after, LiteLLM_ProxyModelTable: mine(after.LiteLLM_ProxyModelTable) }).toEqual({
      ...before,
      LiteLLM_ProxyModelTable: mine(before.LiteLLM_ProxyModelTable),
    });
  });

  test('a transaction that began before the swap and writes after it is seen on the way back', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await lab.client.query('begin');
    await run(`insert into "LiteLLM_SpendLogs" (request_id) values ('takes a transaction id')`);
    await database.swap(transition, masterKey, fence, silent);
    await insertModel('slow', { api_key: sealed('PLAIN-slow', pending) });
    await lab.client.query('commit');
    expect((await database.restore(transition, masterKey, fence, silent)).resealedValues).toBe(1);
    expect(opened(await param('slow', 'api_key'), previous)).toBe('PLAIN-slow');
  });

  test('the table of a new store is searched on the way back', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    await run('create table "LiteLLM_NextStore" (id int primary key, secret text)');
    await run('insert into "LiteLLM_NextStore" values (1, $1)', [sealed('PLAIN-next', pending)]);
    expect((await database.restore(transition, masterKey, fence, silent)).resealedValues).toBe(1);
    const { secret } = await run('select secret from "LiteLLM_NextStore"');
    expect(opened(secret ?? '', previous)).toBe('PLAIN-next');
  });

  test('values written under a salt key that stays are left alone by the rollback of a format or master rotation', async () => {
    const stays = { known: [beforeSalt], to: previous, from: previous };
    const before = await dump(lab.client);
    const fence = await begin(database);
    await database.stage(stays, fence, silent, never);
    expect((await database.swap(stays, masterKey, fence, silent)).values).toBe(6);
    await insertModel('new', { api_key: sealed('PLAIN-new', previous) });
    expect(await database.restore(stays, masterKey, fence, silent)).toEqual({ rows: 6, resealedValues: 0 });
    expect(opened(await param('new', 'api_key'), previous)).toBe('PLAIN-new');
    await run(`delete from "LiteLLM_ProxyModelTable" where model_id = 'new'`);
    expect(await dump(lab.client)).toEqual(before);
  });
});
