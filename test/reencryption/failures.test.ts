import { MockActivityEnvironment } from '@temporalio/testing';
import { execa } from 'execa';
import { once } from 'node:events';
import { Client, escapeIdentifier, escapeLiteral } from 'pg';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Ports } from '../../src/activities/ports.ts';
import { createValueActivities } from '../../src/activities/values.ts';
import { applicationName } from '../../src/reencryption/postgres/connection.ts';
import type { RotationDatabase } from '../../src/reencryption/port.ts';
import { createRotationDatabase } from '../../src/reencryption/rotation-database.ts';
import { Secret } from '../../src/rotation/secret.ts';
import {
  begin,
  beforeSalt,
  dump,
  failure,
  fillModels,
  masterKey,
  never,
  pending,
  plaintexts,
  previous,
  sealed,
  silent,
  transition,
  upgrade,
  v2,
} from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();
let database: RotationDatabase;
const known = [previous, beforeSalt];

beforeEach(() => {
  database = lab.rotationDatabase({ lockTimeoutMs: 300 });
});

const fill = (rows: number): Promise<void> =>
  fillModels(lab.client, rows, (id) => ({ a: sealed(`PLAIN-${id}`, previous, v2), b: sealed(id) }));

const killOurs = `select pg_terminate_backend(pid) from pg_stat_activity where application_name = '${applicationName}' and datname = current_database()`;

describe('another session', () => {
  test('that holds a lock makes the swap fail by the lock timeout, names itself, and nothing changes', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    const before = await dump(lab.client);
    const holder = new Client({ connectionString: lab.url, application_name: 'a busy proxy' });
    await holder.connect();
    await holder.query('begin');
    await holder.query(
      `update "LiteLLM_Config" set param_value = param_value where param_name = 'in_a_string'`,
    );

    const error = await failure(database.swap(transition, masterKey, fence, silent));
    expect(error).toMatchObject({ type: 'DatabaseFailed', facts: { sqlState: '55P03' } });
    expect(error.message).toContain('a busy proxy');
    expect(error.message).toContain('LiteLLM_Config');
    expect(await dump(lab.client)).toEqual(before);
    expect(await database.observe('r-1')).toMatchObject({ side: 'previous' });

    await holder.query('rollback');
    await holder.end();
    expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({ values: 143 });
  });

  test('cannot write a value to any searched table while the swap is under way', async () => {
    const fence = await begin(database);
    await lab.client.query(
      `create table gate (id int primary key, value text); insert into gate values (1, $$x$$)`,
    );
    // The swap waits in this trigger, behind its locks, until the gate's advisory lock is free.
    await lab.client.query(`create function wait_at_gate() returns trigger language plpgsql as
      $$ begin perform pg_advisory_xact_lock(4711); return new; end $$;
      create trigger gate before update on "LiteLLM_Config" for each row execute function wait_at_gate()`);
    await lab.client.query('select pg_advisory_lock(4711)');
    const patient = lab.rotationDatabase({ lockTimeoutMs: 20_000 });
    const swapping = patient.swap(transition, masterKey, fence, silent);
    const waiting = `select 1 from pg_stat_activity where application_name = '${applicationName}' and wait_event = 'advisory'`;
    await expect.poll(async () => (await lab.client.query(waiting)).rowCount, { timeout: 10_000 }).toBe(1);
    const writer = new Client({ connectionString: lab.url, options: '-c lock_timeout=200' });
    await writer.connect();
    for (const table of ['"LiteLLM_SSOIdentityAssertion"', 'gate', '"Awkward ""Names"""']) {
      await expect(writer.query(`delete from ${table}`)).rejects.toMatchObject({ code: '55P03' });
    }
    await lab.client.query('select pg_advisory_unlock(4711)');
    await swapping;
    await writer.query('delete from gate');
    await writer.end();
  });
});

describe('a lost connection', () => {
  test('in the middle of stage loses no staged row, and the next attempt does not do them again', async () => {
    await fill(6000);
    const fence = await begin(database);
    let seen = 0;
    const killing = (async () => {
      await expect.poll(() => seen, { timeout: 20_000, interval: 2 }).toBeGreaterThan(1000);
      await lab.client.query(killOurs);
    })();
    const slow = lab.rotationDatabase({ throttleValuesPerSecond: 8000 });
    const error = await failure(slow.stage(transition, fence, ({ done }) => void (seen = done), never));
    await killing;
    expect(error.type).toBe('DatabaseFailed');
    const rows = `select key, after from litellm_rotate.staged order by relation_id, key`;
    const first = (await lab.client.query(rows)).rows;
    expect(first.length).toBeGreaterThan(400);
    expect(first.length).toBeLessThan(6000);

    const next = lab.rotationDatabase(); // the first one's idle sessions have been ended, too
    expect(await next.stage(transition, fence, silent, never)).toEqual({ values: 12143, rows: 6057 });
    const second = new Map(
      (await lab.client.query(rows)).rows.map(({ key, after }) => [String(key), String(after)]),
    );
    for (const { key, after } of first) expect(second.get(String(key))).toBe(String(after));
    expect(await next.swap(transition, masterKey, fence, silent)).toMatchObject({
      values: 12143,
      lateValues: 0,
    });
  });

  test('in the middle of swap changes nothing, and the next attempt succeeds', async () => {
    await fill(4000);
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    const before = await dump(lab.client);
    // The token table is the last of the tables: everything else has been swapped by then.
    await lab.client.query(`create function die() returns trigger language plpgsql as
      $$ begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(5); return new; end $$;
      create trigger die before update on "LiteLLM_VerificationToken" for each row execute function die()`);
    const error = await failure(database.swap(transition, masterKey, fence, silent));
    expect(error.type).toBe('DatabaseFailed');
    expect(await dump(lab.client)).toEqual(before);
    expect(await database.observe('r-1')).toMatchObject({ side: 'previous' });
    await lab.client.query('drop trigger die on "LiteLLM_VerificationToken"');
    expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({ values: 8143 });
  });

  test('at a crash of Postgres during stage loses nothing that was reported as done', async () => {
    await fill(3000);
    const fence = await begin(database);
    let done = 0;
    const crash = (async () => {
      await expect.poll(() => done, { timeout: 20_000, interval: 2 }).toBeGreaterThan(1500);
      await lab.server.restart('immediate');
    })();
    const slow = lab.rotationDatabase({ throttleValuesPerSecond: 4000 });
    const error = await failure(
      slow.stage(transition, fence, (progress) => void (done = progress.done), never),
    );
    expect(error.type).toBe('DatabaseFailed');
    await crash;
    expect((await database.observe('r-1')).staged * 2).toBeGreaterThanOrEqual(done - 143);
    expect(await database.stage(transition, fence, silent, never)).toMatchObject({ rows: 3057 });
  });

  test('to a server that is not there says where it looked for it and why, without the password', async () => {
    const nowhere = createRotationDatabase({
      connectionString: new Secret('postgresql://litellm:PASSWORD-x@127.0.0.1:9/db'),
    });
    const error = await failure(nowhere.prepareJournal());
    expect(error).toMatchObject({ type: 'DatabaseFailed', facts: { code: 'ECONNREFUSED' } });
    expect(error.message).toContain('127.0.0.1:9: found no Postgres that answers (ECONNREFUSED)');
    expect(`${error.message} ${JSON.stringify(error.facts)} ${nowhere.description}`).not.toContain(
      'PASSWORD',
    );
    await nowhere.close();
  });
});

describe('a stale attempt', () => {
  test('is refused in stage, in swap, in restore, and in everything else that writes', async () => {
    const stale = await begin(database);
    await database.stage(transition, stale, silent, never);
    await database.fence('r-1');
    const before = await dump(lab.client);
    const fencedOut = { type: 'FencedOut' };
    await expect(stale.assert()).rejects.toMatchObject(fencedOut);
    await expect(database.stage(transition, stale, silent, never)).rejects.toMatchObject(fencedOut);
    await expect(database.swap(transition, masterKey, stale, silent)).rejects.toMatchObject(fencedOut);
    await expect(database.restore(transition, masterKey, stale, silent)).rejects.toMatchObject(fencedOut);
    await expect(database.dropStaged(stale, 'previous')).rejects.toMatchObject(fencedOut);
    await expect(database.record(stale, 'plan', {})).rejects.toMatchObject(fencedOut);
    await expect(database.releaseLease(stale)).rejects.toMatchObject(fencedOut);
    expect(await dump(lab.client)).toEqual(before);
  });

  test('that wakes up in the middle of stage writes no further batch', async () => {
    await fill(4000);
    const stale = await begin(database);
    let rows: number | undefined;
    const slow = lab.rotationDatabase({ throttleValuesPerSecond: 4000 });
    const taking = { over: undefined as Promise<unknown> | undefined };
    const error = await failure(
      slow.stage(
        transition,
        stale,
        ({ done }) => {
          if (done > 2000) taking.over ??= database.fence('r-1');
        },
        never,
      ),
    );
    await taking.over;
    expect(error.type).toBe('FencedOut');
    rows = (await database.observe('r-1')).staged;
    expect(rows).toBeLessThan(4000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect((await database.observe('r-1')).staged).toBe(rows);
  });

  /** The swap in a process of its own, frozen in the middle of its transaction. */
  async function frozenInSwap() {
    const stale = await begin(database);
    await database.stage(transition, stale, silent, never);
    await lab.client.query(`create function wait_at_gate() returns trigger language plpgsql as
      $$ begin perform pg_advisory_xact_lock(4712); return new; end $$;
      create trigger gate before update on "LiteLLM_Config" for each row execute function wait_at_gate()`);
    await lab.client.query('select pg_advisory_lock(4712)');
    const child = execa(process.execPath, [new URL('./swapping-child.ts', import.meta.url).pathname], {
      env: { SWAP_URL: lab.url, SWAP_TOKEN: `${stale.token}` },
      stdio: ['ignore', 'pipe', 'ignore'],
      reject: false,
    });
    const sessions = `select state from pg_stat_activity where application_name = '${applicationName}' and datname = current_database()`;
    await expect
      .poll(async () => (await lab.client.query(`${sessions} and wait_event = 'advisory'`)).rowCount, {
        timeout: 10_000,
      })
      .toBe(1);
    child.kill('SIGSTOP');
    await lab.client.query('select pg_advisory_unlock(4712)');
    await expect
      .poll(async () => (await lab.client.query(`${sessions} and state like 'idle in%'`)).rowCount)
      .toBe(1);
    // A promise of its own, which must not be waited for yet.
    return { child };
  }

  test('that is frozen in the middle of its swap is ended by the next one, and writes nothing when it wakes', async () => {
    const { child } = await frozenInSwap();
    const next = await database.fence('r-1');
    expect(await database.swap(transition, masterKey, next, silent)).toMatchObject({ values: 143 });
    const after = await dump(lab.client);
    child.kill('SIGCONT');
    expect((await child).exitCode).not.toBe(0);
    expect(await dump(lab.client)).toEqual(after);
  });

  test('that is frozen in the middle of its swap is ended by a rollback, which finds nothing swapped: so it stays', async () => {
    const { child } = await frozenInSwap();
    const before = await dump(lab.client);
    const values = createValueActivities({ target: () => ({ database }) } as unknown as Ports);
    const environment = new MockActivityEnvironment({ currentAttemptScheduledTimestampMs: Date.now() });
    const restore = (): Promise<unknown> => values.restoreValues({ target: 'lab', rotation: 'r-1' });
    const restored: unknown = await environment.run(restore);
    expect(restored).toEqual({ rows: 0, resealedValues: 0 });
    child.kill('SIGCONT');
    expect((await child).exitCode).not.toBe(0);
    expect((await database.observe('r-1')).side).toBe('previous');
    expect(await dump(lab.client)).toEqual(before);
  });

  test("does not end anybody else's session that has the lease: it gives up within the lock timeout", async () => {
    const fence = await begin(database);
    await lab.client.query('begin; select 1 from litellm_rotate.lease for update');
    const error = await failure(database.fence('r-1'));
    expect(error).toMatchObject({ type: 'DatabaseFailed', facts: { sqlState: '55P03' } });
    await lab.client.query('rollback');
    expect((await database.fence('r-1')).token).toBe(fence.token + 1);
  });
});

describe('kill -9 of the process that swaps', () => {
  test.for([0, 40, 80, 120, 200])('%d ms in leaves everything under one key', async (delay) => {
    await fill(8000);
    await begin(database);
    const fence = await database.fence('r-1');
    await database.stage(transition, fence, silent, never);
    const child = execa(process.execPath, [new URL('./swapping-child.ts', import.meta.url).pathname], {
      env: { SWAP_URL: lab.url, SWAP_TOKEN: `${fence.token}` },
      stdio: ['ignore', 'pipe', 'inherit'],
      reject: false,
    });
    await once(child.stdout as NodeJS.EventEmitter, 'data');
    await new Promise((resolve) => setTimeout(resolve, delay));
    child.kill('SIGKILL');
    await child;
    const next = lab.rotationDatabase({ lockTimeoutMs: 20_000 });
    const token = await next.fence('r-1'); // waits for what is left of the killed session
    const { side } = await next.observe('r-1');
    const [mine, other] = side === 'pending' ? [pending, previous] : [previous, pending];
    const count = await next.count(mine, [other], silent, never);
    expect(count.underOthers).toBe(0);
    expect(await next.swap(transition, masterKey, token, silent)).toMatchObject({ values: 16143 });
  });
});

describe('what an error tells', () => {
  test('of a trigger that raises a value is its SQLSTATE, and not the value', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    const before = await dump(lab.client);
    await lab.client.query(`create function leak() returns trigger language plpgsql as $$ begin
        raise exception 'LEAK %', old.assertion_b64 using detail = new.assertion_b64, hint = old.assertion_b64,
          table = old.assertion_b64, constraint = old.assertion_b64, column = old.assertion_b64; end $$;
      create trigger leak before update on "LiteLLM_SSOIdentityAssertion" for each row execute function leak()`);
    const [{ assertion_b64: value }] = (
      await lab.client.query<{ assertion_b64: string }>(
        'select assertion_b64 from "LiteLLM_SSOIdentityAssertion"',
      )
    ).rows as [{ assertion_b64: string }];
    const error = await failure(database.swap(transition, masterKey, fence, silent));
    expect(error).toMatchObject({ type: 'DatabaseFailed', facts: { sqlState: 'P0001' } });
    const text = `${error.message} ${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`;
    expect(text).toContain('raise_exception');
    expect(text).not.toContain('LEAK');
    expect(text).not.toContain(value.slice(0, 20));
    expect(await dump(lab.client)).toEqual(before);
  });

  test('of a constraint that refuses is its name and table, and not the row', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    const value = (
      await lab.client.query('select assertion_b64 as value from "LiteLLM_SSOIdentityAssertion"')
    ).rows[0].value as string;
    await lab.client.query(
      `alter table "LiteLLM_SSOIdentityAssertion" add constraint frozen check (assertion_b64 = ${escapeLiteral(value)})`,
    );
    const error = await failure(database.swap(transition, masterKey, fence, silent));
    expect(error.message).toMatch(
      /23514 check_violation \(table LiteLLM_SSOIdentityAssertion, constraint frozen\)/,
    );
    expect(`${error.message} ${JSON.stringify(error.facts)}`).not.toContain(value.slice(0, 20));
  });
});

describe('a trigger that alters what is written', () => {
  test.for([
    ['keeps the old value', 'return old;'],
    ['skips the row', 'return null;'],
    ['writes something else', `new.assertion_b64 := 'something else'; return new;`],
  ] as const)('(it %s) is a count that does not agree, and nothing changes', async ([, body]) => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await lab.client
      .query(`create function alter_it() returns trigger language plpgsql as $$ begin ${body} end $$;
      create trigger alter_it before update on "LiteLLM_SSOIdentityAssertion" for each row execute function alter_it()`);
    const before = await dump(lab.client);
    await expect(database.swap(transition, masterKey, fence, silent)).rejects.toMatchObject({
      type: 'CountMismatch',
      message: expect.stringContaining('LiteLLM_SSOIdentityAssertion'),
    });
    expect(await dump(lab.client)).toEqual(before);
  });

  test.for([
    ['skips it', 'return null;'],
    ['writes something else', `new.litellm_params := '{}'; return new;`],
  ] as const)(
    '(it %s) in a row that was written since stage is seen without the search from end to end',
    async ([, body]) => {
      const fence = await begin(database);
      await database.stage(transition, fence, silent, never);
      await lab.client.query(`
      update "LiteLLM_ProxyModelTable" set model_name = 'renamed' where model_id = 'model-1';
      update "LiteLLM_ProxyModelTable" set litellm_params = '{}' where model_id = 'model-2';
      create function alter_it() returns trigger language plpgsql as
        $$ begin if new.model_id = 'model-1' then ${body} end if; return new; end $$;
      create trigger alter_it before update on "LiteLLM_ProxyModelTable" for each row execute function alter_it();
      update pg_class set reltuples = 1e7 where oid = '"LiteLLM_Config"'::regclass`);
      const before = await dump(lab.client);
      await expect(database.swap(transition, masterKey, fence, silent)).rejects.toMatchObject({
        type: 'CountMismatch',
        facts: { table: 'LiteLLM_ProxyModelTable', rows: 1 },
      });
      expect(await dump(lab.client)).toEqual(before);
    },
  );

  test('only at the commit is seen before it', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await lab.client.query(`create function alter_it() returns trigger language plpgsql as $$ begin
        update "LiteLLM_SSOIdentityAssertion" set assertion_b64 = 'something else' where assertion_b64 <> 'something else';
        return null; end $$;
      create constraint trigger alter_it after update on "LiteLLM_SSOIdentityAssertion"
        deferrable initially deferred for each row execute function alter_it()`);
    const before = await dump(lab.client);
    await expect(database.swap(transition, masterKey, fence, silent)).rejects.toMatchObject({
      type: 'CountMismatch',
      facts: { table: 'LiteLLM_SSOIdentityAssertion', rows: 1 },
    });
    expect(await dump(lab.client)).toEqual(before);
  });

  test('in another table is seen by the search from end to end', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    const copy = sealed('PLAIN-copied-back');
    await lab.client.query(`create function copy_it() returns trigger language plpgsql as $$ begin
        insert into "LiteLLM_Config" values ('copied', jsonb_build_object('a', '${copy}')); return null; end $$;
      create trigger copy_it after update on "LiteLLM_SSOIdentityAssertion" for each row execute function copy_it()`);
    const before = await plaintexts(lab.client, known);
    await expect(database.swap(transition, masterKey, fence, silent)).rejects.toMatchObject({
      type: 'CountMismatch',
      message: expect.stringContaining('(in LiteLLM_Config.param_value)') as string,
      facts: { underOthers: 1 },
    });
    expect(await plaintexts(lab.client, known)).toEqual(before);
  });
});

test('a policy that would hide rows since preflight is a refusal, and not a row that is left behind', async () => {
  await lab.server.createUser('limited');
  await lab.client
    .query(`grant create on database ${escapeIdentifier(new URL(lab.url).pathname.slice(1))} to limited;
    grant select, update on all tables in schema public to limited`);
  const url = new URL(lab.url);
  url.username = 'limited';
  const limited = lab.rotationDatabase({ connectionString: new Secret(url.href) });
  const fence = await begin(limited);
  await lab.client.query(`alter table "LiteLLM_ProxyModelTable" enable row level security;
    create policy hide on "LiteLLM_ProxyModelTable" using (model_id <> 'model-1')`);
  expect(await failure(limited.stage(transition, fence, silent, never))).toMatchObject({ type: 'Refused' });
  expect(await failure(limited.swap(transition, masterKey, fence, silent))).toMatchObject({
    type: 'Refused',
  });
});

describe('an abort signal', () => {
  test.each([
    ['inspect', (view, signal) => view.inspect(signal)],
    ['inventory', (view, signal) => view.inventory([previous], masterKey.from, silent, signal)],
    ['count', (view, signal) => view.count(previous, [], silent, signal)],
    ['surveyImprovement', (view, signal) => view.surveyImprovement(upgrade, silent, signal)],
  ] satisfies [string, (view: RotationDatabase, signal: AbortSignal) => Promise<unknown>][])(
    'ends %s in the middle of a statement, on the server, too',
    async (_, survey) => {
      await begin(database);
      const holder = new Client({ connectionString: lab.url });
      await holder.connect();
      await holder.query('begin; lock table "LiteLLM_ProxyModelTable" in access exclusive mode');
      const waiting = async () =>
        (
          await lab.run(
            `select count(*) from pg_stat_activity where datname = current_database() and application_name = 'litellm-rotate' and wait_event_type = 'Lock'`,
          )
        ).count;
      const controller = new AbortController();
      const view = lab.rotationDatabase({ lockTimeoutMs: 600_000 });
      const surveyed = survey(view, controller.signal).catch((error: unknown) => error);
      try {
        await expect.poll(waiting).toBe('1');
        controller.abort();
        await expect.poll(waiting).toBe('0');
        expect(await surveyed).toBeInstanceOf(Error);
      } finally {
        await holder.end();
      }
    },
  );

  test('ends stage between two batches, and what was staged stays', async () => {
    await fill(4000);
    const fence = await begin(database);
    const controller = new AbortController();
    const slow = lab.rotationDatabase({ throttleValuesPerSecond: 4000 });
    const stopped = slow.stage(
      transition,
      fence,
      ({ done }) => void (done > 2000 && controller.abort()),
      controller.signal,
    );
    await expect(stopped).rejects.toThrow();
    const { staged } = await database.observe('r-1');
    expect(staged).toBeGreaterThan(900);
    expect(staged).toBeLessThan(4000);
    expect(await database.stage(transition, fence, silent, never)).toMatchObject({ rows: 4057 });
  });
});
