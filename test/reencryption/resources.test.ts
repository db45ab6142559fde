import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Secret } from '../../src/rotation/secret.ts';
import { begin, dump, failure, masterKey, never, sealed, silent, transition } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const isRoot = process.getuid?.() === 0;
const small = mkdtempSync(join(tmpdir(), 'litellm-rotate-small-'));
// Hooks of the end run in reverse: Postgres is gone from the small disk by then.
afterAll(() => {
  if (isRoot) execFileSync('umount', [small]);
  rmSync(small, { recursive: true });
});
const lab = useTestDatabase();
beforeAll(async () => {
  await lab.server.createUser('limited');
  const { uid, gid } = statSync(lab.server.dataDirectory);
  if (isRoot)
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=2m,mode=700,uid=${uid},gid=${gid}`, 'small', small]);
});

/** A statement about the database under test, by its name. */
const onDatabase = (statement: string) =>
  lab.client.query(`do $$ begin execute format('${statement}', current_database()); end $$`);

// Mounting a file system takes root.
test.runIf(isRoot)(
  'a disk that is full while staging touches no value, and once there is room the next attempt goes on where it stopped',
  async () => {
    const ids = Array.from({ length: 8000 }, (_, at) => `filled-${at}`);
    await lab.client.query(
      `insert into "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params) select i, i, p::jsonb from unnest($1::text[], $2::text[]) as u (i, p)`,
      [ids, ids.map((id) => JSON.stringify({ a: sealed(`PLAIN-${id}`) }))],
    );
    const before = await dump(lab.client);
    await lab.client.query(`create tablespace small location '${small}'`);
    await onDatabase('alter database %I set default_tablespace = small');

    const database = lab.rotationDatabase();
    const fence = await begin(database);
    const error = await failure(database.stage(transition, fence, silent, never));
    expect(error).toMatchObject({ type: 'DatabaseFailed', facts: { sqlState: '53100' } });
    expect(error.message).toContain('make room on the disk of Postgres');
    expect(await dump(lab.client)).toEqual(before);
    const { side, staged } = await database.observe('r-1');
    expect(side).toBe('previous');
    expect(staged).toBeGreaterThan(0);
    expect(staged).toBeLessThan(8000);

    execFileSync('mount', ['-o', 'remount,size=64m', small]);
    expect(await database.stage(transition, fence, silent, never)).toEqual({ values: 8143, rows: 8057 });
    expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({
      values: 8143,
      lateValues: 0,
    });
  },
);

test('Postgres at its connection limit fails the attempt with what to do, and the next one succeeds', async () => {
  await onDatabase('grant create on database %I to limited');
  await lab.client.query('grant select, update on all tables in schema public to limited');
  const url = new URL(lab.server.url('postgres', 'limited'));
  url.pathname = new URL(lab.url).pathname;
  const database = lab.rotationDatabase({ connectionString: new Secret(url.href) });
  const fence = await begin(database);
  await lab.client.query('alter role limited connection limit 1');
  const before = await dump(lab.client);
  const error = await failure(database.stage(transition, fence, silent, never));
  expect(error).toMatchObject({ type: 'DatabaseFailed', facts: { sqlState: '53300' } });
  expect(error.message).toContain('raise max_connections or end idle sessions');
  expect(await dump(lab.client)).toEqual(before);

  await lab.client.query('alter role limited connection limit -1');
  expect(await database.stage(transition, fence, silent, never)).toMatchObject({ values: 143 });
  expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({ values: 143 });
});

describe('in the swap', () => {
  test('a row that another session has locked fails it within the lock timeout, and nothing changes', async () => {
    const database = lab.rotationDatabase({ lockTimeoutMs: 300 });
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    const before = await dump(lab.client);
    const holder = new Client({ connectionString: lab.url, application_name: 'a report' });
    await holder.connect();
    await holder.query(
      `begin; select * from "LiteLLM_ProxyModelTable" where model_id = 'model-3' for update`,
    );
    const error = await failure(database.swap(transition, masterKey, fence, silent));
    expect(error).toMatchObject({ type: 'DatabaseFailed', facts: { sqlState: '55P03' } });
    expect(error.message).toContain('end the session that holds the lock');
    expect(await dump(lab.client)).toEqual(before);
    await holder.end();
    expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({ values: 143 });
  });

  test('a statement that runs into its timeout is undone whole', async () => {
    const database = lab.rotationDatabase({ statementTimeoutMs: 500 });
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    const before = await dump(lab.client);
    // The token table comes last: everything else has been swapped by then.
    await lab.client.query(`create function dawdle() returns trigger language plpgsql as
      $$ begin perform pg_sleep(0.2); return new; end $$;
      create trigger dawdle before update on "LiteLLM_VerificationToken" for each row execute function dawdle()`);
    const error = await failure(database.swap(transition, masterKey, fence, silent));
    expect(error).toMatchObject({ type: 'DatabaseFailed', facts: { sqlState: '57014' } });
    expect(error.message).toContain('raise the statement timeout');
    expect(await dump(lab.client)).toEqual(before);
    expect(await database.observe('r-1')).toMatchObject({ side: 'previous' });
    await lab.client.query('drop trigger dawdle on "LiteLLM_VerificationToken"');
    expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({ values: 143 });
  });
});
