import { Client } from 'pg';
import { beforeEach, describe, expect, test } from 'vitest';
import { startLiteLLMCiphers } from '../../lab/litellm/ciphers.ts';
import { knownKeys } from '../../src/litellm/known-keys.ts';
import type { Improvement, RotationDatabase } from '../../src/reencryption/port.ts';
import { Secret } from '../../src/rotation/secret.ts';
import {
  begin,
  beforeSalt,
  cipherOf,
  commitMeanwhile,
  dump,
  fillModels,
  marked,
  never,
  opened,
  plaintexts,
  previous,
  sealed,
  silent,
  upgrade as asked,
  v2,
} from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const repairing: Improvement = { ...asked, upgradeTo: null, repairSealedTwice: true };
const forgotten = { label: 'forgotten', key: new Secret('forgotten') };

const lab = useTestDatabase();
let database: RotationDatabase;

beforeEach(() => {
  database = lab.rotationDatabase({ backOff: false });
});

async function addModel(id: string, params: object): Promise<void> {
  await lab.client.query(
    'insert into "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params) values ($1, $1, $2)',
    [id, JSON.stringify(params)],
  );
}
async function paramsOf(id: string): Promise<Record<string, string>> {
  const { rows } = await lab.client.query<{ params: Record<string, string> }>(
    'select litellm_params as params from "LiteLLM_ProxyModelTable" where model_id = $1',
    [id],
  );
  return rows[0]?.params ?? {};
}
const formatOf = (text: string | undefined, key = previous) => cipherOf(key).open(text ?? '')?.format;
const survey = (improvement = asked) => database.surveyImprovement(improvement, silent, never);
const sorted = (found: readonly { label: string; plaintext: string }[]) =>
  found.map(({ label, plaintext }) => `${label}: ${plaintext}`).sort();
/** The plaintexts under known keys but the innermost of what is sealed twice. */
const carried = async () => sorted(await plaintexts(lab.client, [previous, beforeSalt]));

describe('an upgrade', () => {
  test('seals every value under the current key in the wanted format, with the same plaintext and marker', async () => {
    const texts = await carried();
    const before = await survey();
    expect(before).toMatchObject({
      leftAlone: { sealedTwice: 1, underOtherKeys: 6, unreadable: 1, ids: 0, withoutKey: 0 },
    });
    expect(before.values).toBe(before.formats.legacy);
    expect(before.values).toBeGreaterThan(90);

    const report = await database.improve(asked, await begin(database), silent, never);
    expect(report).toMatchObject({ upgraded: before.values, repaired: 0, passes: 2, missed: 0 });
    expect(await survey()).toMatchObject({
      values: 0,
      lines: [],
      formats: { legacy: 0, v2: before.formats.legacy + before.formats.v2 },
      leftAlone: before.leftAlone,
    });
    expect(await carried()).toEqual(texts);
    const { rows } = await lab.client.query<{ value: string }>(
      `select metadata #>> '{logging,0,callback_vars,secret}' as value from "LiteLLM_VerificationToken" where key_alias = 'key-3'`,
    );
    expect(rows[0]?.value).toMatch(/^litellm_enc::v2:gcm:/);
  });

  test('leaves values of other keys, sealed twice, unreadable, of higher formats, and keys of objects byte for byte', async () => {
    const v3 = sealed('PLAIN-v3', previous, { ...v2, format: 'v3' });
    const params = {
      other: sealed('PLAIN-other', beforeSalt),
      twice: sealed(sealed('PLAIN-twice')),
      inner: sealed(sealed('PLAIN-inner', forgotten, v2)),
      lost: sealed('PLAIN-lost', forgotten),
      v3,
      v2: sealed('PLAIN-v2', previous, v2),
      id: sealed('id', previous, { ...v2, format: 'legacy', marker: 'resp_' }),
    };
    await addModel('kept', params);
    await database.improve(asked, await begin(database), silent, never);
    expect(await paramsOf('kept')).toEqual(params);
  });

  test('keeps the plaintext byte for byte where that is ciphertext with something around it', async () => {
    const texts = [
      `["${sealed('PLAIN-wrapped')}"]`,
      `${sealed('PLAIN-line', previous, v2)}\n`,
      `resp_${sealed('id')}`,
    ];
    await addModel('wrapped', Object.fromEntries(texts.map((text, at) => [at, sealed(text)])));
    await database.improve({ ...asked, repairSealedTwice: true }, await begin(database), silent, never);
    const upgraded = Object.values(await paramsOf('wrapped'));
    expect(upgraded.map((text) => opened(text, previous))).toEqual(texts);
    expect(upgraded.map((text) => formatOf(text))).toEqual(['v2', 'v2', 'v2']);
  });

  test('leaves values of an older key that is called as the current one', async () => {
    const known = knownKeys({ master: new Secret('sk-of-nothing'), salt: previous.key }, [
      { label: previous.label, key: beforeSalt.key },
    ]);
    const other = sealed('PLAIN-other', beforeSalt);
    await addModel('kept', { other });
    await database.improve({ ...asked, known }, await begin(database), silent, never);
    expect(await paramsOf('kept')).toEqual({ other });
  });

  test('writes nothing the second time', async () => {
    await database.improve(asked, await begin(database), silent, never);
    const after = await dump(lab.client);
    const report = await database.improve(asked, await database.fence('r-1'), silent, never);
    expect(report).toMatchObject({ upgraded: 0, rows: 0, passes: 1 });
    expect(await dump(lab.client)).toEqual(after);
  });

  test('does not write over what somebody stores between its look and its write, and upgrades that in the next pass', async () => {
    await fillModels(lab.client, 300);
    const params = JSON.stringify({ a: sealed('PLAIN-new'), plain: 'new' });
    let stored = false;
    const report = await database.improve(
      asked,
      await begin(database),
      ({ note }) => {
        if (stored || note !== 'LiteLLM_ProxyModelTable') return;
        stored = true;
        // The rows of the next pages are those of a snapshot that has been taken.
        commitMeanwhile(
          lab.url,
          `update "LiteLLM_ProxyModelTable" set litellm_params = '${params}' where starts_with(model_id, 'filled-')`,
        );
      },
      never,
    );
    expect(stored).toBe(true);
    expect(report.passes).toBeGreaterThan(1);
    for (let at = 0; at < 300; at += 1) {
      const { a, plain } = await paramsOf(`filled-${at}`);
      expect({ plain, a: opened(a ?? '', previous), format: formatOf(a) }).toEqual({
        plain: 'new',
        a: 'PLAIN-new',
        format: 'v2',
      });
    }
  });

  test('fails at a trigger that alters what is written, and keeps nothing of that batch', async () => {
    await lab.client.query(`create function f() returns trigger language plpgsql as $$
        begin new.assertion_b64 := upper(new.assertion_b64); return new; end $$;
      create trigger theirs before update on "LiteLLM_SSOIdentityAssertion" for each row execute function f()`);
    const before = (await dump(lab.client)).LiteLLM_SSOIdentityAssertion;
    await expect(database.improve(asked, await begin(database), silent, never)).rejects.toMatchObject({
      type: 'CountMismatch',
      message: expect.stringContaining('a row of LiteLLM_SSOIdentityAssertion did not become') as string,
    });
    expect((await dump(lab.client)).LiteLLM_SSOIdentityAssertion).toEqual(before);
  });

  test('finds a row again by a key of a fixed length', async () => {
    await lab.client.query(
      'create table of_somebody (id char(36) primary key, secret varchar(400), code char(300))',
    );
    await lab.client.query('insert into of_somebody values ($1, $2, $3)', [
      'b7f3c1de-0000-4000-8000-000000000001',
      sealed('PLAIN-varchar'),
      sealed('PLAIN-char'),
    ]);
    await database.improve(asked, await begin(database), silent, never);
    expect((await survey()).values).toBe(0);
    const { rows } = await lab.client.query<{ secret: string; code: string }>(
      'select secret, code from of_somebody',
    );
    expect(rows.map(({ secret, code }) => [opened(secret, previous), opened(code.trim(), previous)])).toEqual(
      [['PLAIN-varchar', 'PLAIN-char']],
    );
  });

  test('passes over a row that another session holds, without waiting, and gets it once that lets go', async () => {
    await fillModels(lab.client, 300);
    const other = new Client({ connectionString: lab.url });
    await other.connect();
    await other.query('begin');
    await other.query(`select 1 from "LiteLLM_ProxyModelTable" where model_id = 'filled-7' for update`);
    try {
      const running = database.improve(asked, await begin(database), silent, never);
      await expect.poll(async () => (await survey()).values, { timeout: 20_000, interval: 20 }).toBe(1);
      await other.query('rollback');
      const report = await running;
      expect(report.passes).toBeGreaterThan(1);
      expect(report.missed).toBe(0);
    } finally {
      await other.end();
    }
    expect((await survey()).values).toBe(0);
  });

  test('gives up on a row that stays held, and says so', async () => {
    const other = new Client({ connectionString: lab.url });
    await other.connect();
    await other.query('begin');
    await other.query(`select 1 from "LiteLLM_SSOIdentityAssertion" for update`);
    const report = await database.improve(asked, await begin(database), silent, never);
    await other.end();
    expect(report).toMatchObject({ passes: 5, missed: 1 });
    expect((await survey()).values).toBe(1);
  }, 30_000);

  test('is not in the way of a session that holds what a trigger of its own rows needs', async () => {
    await lab.client.query(`
      create function bump() returns trigger language plpgsql as $$ begin
        update "LiteLLM_Config" set param_value = param_value where param_name = 'environment_variables'; return new;
      end $$;
      create trigger bump after update on "LiteLLM_MCPServerTable" for each row execute function bump()`);
    const other = new Client({ connectionString: lab.url });
    await other.connect();
    await other.query('begin');
    await other.query(`select 1 from "LiteLLM_Config" where param_name = 'environment_variables' for update`);
    const running = database.improve(asked, await begin(database), silent, never);
    // It does not wait there for its turn, but goes on with the other tables.
    await expect
      .poll(async () => (await survey()).lines.map(({ table }) => table), { timeout: 5_000 })
      .toEqual([
        'LiteLLM_Config',
        'LiteLLM_MCPServerTable',
        'LiteLLM_MCPServerTable',
        'LiteLLM_MCPServerTable',
      ]);
    // What would wait for us in a circle gets through.
    await other.query(`update "LiteLLM_MCPServerTable" set server_id = server_id`);
    await other.query('commit');
    await running;
    await other.end();
    expect((await survey()).values).toBe(0);
  }, 30_000);

  test('of a stale attempt writes nothing', async () => {
    const stale = await begin(database);
    await database.fence('r-1');
    const before = await dump(lab.client);
    await expect(database.improve(asked, stale, silent, never)).rejects.toMatchObject({ type: 'FencedOut' });
    expect(await dump(lab.client)).toEqual(before);
  });

  test('stops at the next batch when a newer attempt takes over in the middle', async () => {
    await fillModels(lab.client, 300);
    const slow = lab.rotationDatabase({ backOff: false, throttleValuesPerSecond: 500 });
    const fence = await begin(slow);
    let newer: Promise<unknown> | undefined;
    const running = slow.improve(
      asked,
      { ...fence, assert: async () => undefined },
      () => (newer ??= database.fence('r-1')),
      never,
    );
    await expect(running).rejects.toMatchObject({ type: 'FencedOut' });
    await newer;
    expect((await survey()).values).toBeGreaterThan(0);
  });

  test('stops between two batches when it is cancelled, and goes on with what is left', async () => {
    await fillModels(lab.client, 300);
    const cancelling = new AbortController();
    const { values } = await survey();
    const running = database.improve(
      asked,
      await begin(database),
      () => cancelling.abort(new Error('cancelled')),
      cancelling.signal,
    );
    await expect(running).rejects.toThrow();
    const left = (await survey()).values;
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThan(values);
    const report = await database.improve(asked, await database.fence('r-1'), silent, never);
    expect(report.upgraded).toBe(left);
  });

  test('keeps to the throttle', async () => {
    await fillModels(lab.client, 100);
    const slow = lab.rotationDatabase({ backOff: false, throttleValuesPerSecond: 200 });
    const fence = await begin(slow);
    const began = performance.now();
    const { upgraded } = await slow.improve(asked, fence, silent, never);
    expect(performance.now() - began).toBeGreaterThan((upgraded / 200) * 1000 * 0.9);
  });

  test('rests while others are at work, and says how long', async () => {
    await fillModels(lab.client, 200);
    const yielding = lab.rotationDatabase();
    const fence = await begin(yielding);
    const other = new Client({ connectionString: lab.url });
    await other.connect();
    await other.query('begin');
    await other.query('select 1 from "LiteLLM_Config"');
    let waited = 0;
    await yielding.improve(asked, fence, ({ waitedMs = 0 }) => (waited = waitedMs), never);
    await other.end();
    expect(waited).toBeGreaterThan(0);
  });

  test('LiteLLM opens what was upgraded from what it had sealed', async () => {
    const litellm = await startLiteLLMCiphers();
    try {
      const texts = ['', 'sk-provider', 'Grüße, 世界', 'os.environ/KEY', 'x'.repeat(3000)];
      const values = await litellm.seal(texts, previous.key.reveal(), 'legacy');
      await addModel('litellm', Object.fromEntries(values.entries()));
      await database.improve(asked, await begin(database), silent, never);
      const upgraded = Object.values(await paramsOf('litellm'));
      expect(upgraded.every((text) => text.startsWith('v2:gcm:'))).toBe(true);
      expect(await litellm.open(upgraded, previous.key.reveal())).toEqual(texts);
    } finally {
      await litellm.stop();
    }
  }, 120_000);
});

describe('a repair', () => {
  test('leaves one layer, under the current key, in the format and with the marker of the outermost one', async () => {
    const three = sealed(sealed(sealed('PLAIN-3'), beforeSalt, v2), previous, marked);
    await addModel('deep', {
      three,
      gcm: sealed(sealed('PLAIN-gcm'), beforeSalt, v2),
      inner: sealed(sealed('PLAIN-inner', forgotten, v2)),
      array: sealed(`["${sealed('PLAIN-wrapped')}"]`),
      once: sealed('PLAIN-once'),
    });
    const before = await paramsOf('deep');
    expect(await survey(repairing)).toMatchObject({ values: 3, leftAlone: { sealedTwice: 1 } });
    const report = await database.improve(repairing, await begin(database), silent, never);
    expect(report).toMatchObject({ upgraded: 0, repaired: 3 });

    const found = await paramsOf('deep');
    expect(found.three).toMatch(/^litellm_enc::/);
    expect(opened(found.three ?? '', previous)).toBe('PLAIN-3');
    expect(formatOf(found.three)).toBe('legacy');
    expect(opened(found.gcm ?? '', previous)).toBe('PLAIN-gcm');
    expect(formatOf(found.gcm)).toBe('v2');
    for (const name of ['inner', 'array', 'once']) expect(found[name]).toBe(before[name]);
    expect((await survey(repairing)).values).toBe(0);
  });

  test('with an upgrade seals once in the wanted format, and the rest is upgraded, too', async () => {
    const both: Improvement = { ...asked, repairSealedTwice: true };
    await addModel('deep', { a: sealed(sealed('PLAIN-a')), b: sealed('PLAIN-b') });
    const report = await database.improve(both, await begin(database), silent, never);
    expect(report.repaired).toBe(2);
    const { a, b } = await paramsOf('deep');
    expect([formatOf(a), formatOf(b)]).toEqual(['v2', 'v2']);
    expect(opened(a ?? '', previous)).toBe('PLAIN-a');
    expect(await survey(both)).toMatchObject({ values: 0, formats: { legacy: 0 } });
  });

  test('is planned with the keys of each layer, its rows, and a digest that any change to those values changes', async () => {
    const rows: string[] = [];
    const found = await database.surveyImprovement(repairing, silent, never, (line, key) =>
      rows.push(`${line.table} ${key.map(({ name, value }) => `${name}=${value}`).join()}`),
    );
    expect(found.lines).toEqual([
      {
        table: 'LiteLLM_CredentialsTable',
        column: 'credential_values',
        verdict: 'repair',
        layers: ['salt key', 'salt key'],
        format: 'legacy',
        becomes: 'legacy',
        marker: '',
        values: 1,
      },
    ]);
    expect(rows).toEqual(['LiteLLM_CredentialsTable credential_id=c-2']);
    const digest = async () => (await survey(repairing)).repairs;
    expect(await digest()).toBe(found.repairs);

    await addModel('unrelated', { a: sealed('PLAIN-unrelated') });
    await lab.client.query(`update "LiteLLM_CredentialsTable" set credential_name = credential_name || '!'`);
    expect(await digest()).toBe(found.repairs);

    await lab.client.query(
      `update "LiteLLM_CredentialsTable" set credential_values = $1 where credential_id = 'c-2'`,
      [JSON.stringify({ api_key: sealed(sealed('PLAIN-twice')) })],
    );
    const changed = await digest();
    expect(changed).not.toBe(found.repairs);
    await addModel('more', { a: sealed(sealed('PLAIN-more')) });
    expect(await digest()).not.toBe(changed);
  });
});

test('what a terminated attempt leaves is taken over like that of a rotation, and its writer is fenced out', async () => {
  await fillModels(lab.client, 300);
  const slow = lab.rotationDatabase({ backOff: false, throttleValuesPerSecond: 200 });
  const running = slow.improve(asked, await begin(slow), silent, never).catch((error: unknown) => error);
  // As `converge` does: which side, what is staged, drop it, release.
  expect(await database.observe('r-1')).toEqual({ side: 'previous', staged: 0 });
  await database.dropStaged(await database.fence('r-1'), 'previous');
  await database.releaseLease(await database.fence('r-1'));
  expect(await running).toMatchObject({ type: 'FencedOut' });
  await begin(database, 'r-2');
  const report = await database.improve(asked, await database.fence('r-2'), silent, never);
  expect(report.missed).toBe(0);
  expect((await survey()).values).toBe(0);
});
