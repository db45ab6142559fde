import { fileURLToPath } from 'node:url';
import { escapeIdentifier } from 'pg';
import { describe, expect, test } from 'vitest';
import { onPath } from '../../lab/child.ts';
import { runSqlFile } from '../psql.ts';
import { begin, dump, masterKey, never, sealed, pending, silent, transition } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const file = fileURLToPath(new URL('../../docs/recovery/go-back.sql', import.meta.url));
const hasPsql = onPath('psql') !== undefined;
if (!hasPsql) console.log('docs/recovery/go-back.sql is not run: psql is not installed');

describe.skipIf(!hasPsql).each([
  { server: 'the Postgres at hand', major: undefined },
  { server: 'Postgres 18', major: 18 as const },
])('docs/recovery/go-back.sql, after a cutover on $server', ({ major }) => {
  const lab = useTestDatabase(major === undefined ? {} : { major });

  async function cutOver() {
    const database = lab.rotationDatabase();
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    return database;
  }

  const goBack = () => runSqlFile(new URL(lab.url), file, { flags: ['--set=ON_ERROR_STOP=1'] });

  test('gives every row back as it was, whatever the database sets for its sessions, and the journal says so', async () => {
    await lab.client.query('create table spans (span interval primary key, secret text)');
    await lab.client.query(`insert into spans values ('-1 day 03:04:05', $1)`, [sealed('PLAIN-span')]);
    const name = escapeIdentifier(new URL(lab.url).pathname.slice(1));
    for (const setting of ['array_nulls = off', 'intervalstyle = sql_standard'])
      await lab.client.query(`alter database ${name} set ${setting}`);
    const before = await dump(lab.client);
    const database = await cutOver();
    expect(await dump(lab.client)).not.toEqual(before);
    expect(await goBack()).toMatchObject({ exitCode: 0 });
    expect(await dump(lab.client)).toEqual(before);
    expect(await database.observe('r-1')).toMatchObject({ side: 'previous' });
  });

  test("takes none of the functions that LiteLLM's role may have put into its schema for one of Postgres'", async () => {
    await cutOver();
    await lab.client.query(`create function public.quote_ident(text) returns text language plpgsql as
      $$ begin raise exception 'called as %', current_user; end $$`);
    expect(await goBack()).toMatchObject({ exitCode: 0 });
  });

  test('refuses when a value was stored since, and changes nothing', async () => {
    await cutOver();
    await lab.client.query(
      `update "LiteLLM_ProxyModelTable" set litellm_params = jsonb_set(litellm_params, '{api_key}', to_jsonb($1::text)) where model_id = 'model-1'`,
      [sealed('PLAIN-since', pending)],
    );
    const before = await dump(lab.client);
    const { exitCode, all } = await goBack().catch((error: { exitCode: number; all: string }) => error);
    expect(exitCode).not.toBe(0);
    expect(all).toMatch(/1 of \d+ rows of LiteLLM_ProxyModelTable are not as the cutover left them/);
    expect(await dump(lab.client)).toEqual(before);
  });
});
