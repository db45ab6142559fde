import { execa } from 'execa';
import { expect, test } from 'vitest';
import { applicationName } from '../../src/reencryption/postgres/connection.ts';
import { begin, beforeSalt, fillModels, never, plaintexts, previous, silent, upgrade } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();

/** The transaction that reaches the row waits behind its locks until the advisory lock is free. */
const gate = (id: string) => `
  create function wait_at_gate() returns trigger language plpgsql as $$ begin
    perform set_config('lock_timeout', '0', true), pg_advisory_xact_lock(4713); return new;
  end $$;
  create trigger gate before update on "LiteLLM_ProxyModelTable" for each row
    when (new.model_id = '${id}') execute function wait_at_gate();
  select pg_advisory_lock(4713)`;
const waitingAtGate = `
  select 1 from pg_stat_activity
  where application_name = '${applicationName}' and datname = current_database() and wait_event = 'advisory'`;

/** What the values say, in order. A value that was sealed once more would say its former self. */
const said = async () =>
  (await plaintexts(lab.client, [previous, beforeSalt]))
    .map(({ label, plaintext }) => `${label}: ${plaintext}`)
    .sort();

async function models(): Promise<Map<string, string>> {
  const { rows } = await lab.client.query<{ id: string; params: string }>(
    `select model_id as id, litellm_params::text as params from "LiteLLM_ProxyModelTable"`,
  );
  return new Map(rows.map(({ id, params }) => [id, params]));
}

test('kill -9 in the middle of a batch keeps the batches before it, and the next process does the rest: nothing is lost, or sealed twice', async () => {
  await fillModels(lab.client, 300);
  const database = lab.rotationDatabase({ backOff: false });
  const [texts, untouched] = [await said(), await models()];
  const before = await database.surveyImprovement(upgrade, silent, never);
  await lab.client.query(gate('filled-200'));
  const { token } = await begin(database);
  const child = execa(process.execPath, [new URL('./improving-child.ts', import.meta.url).pathname], {
    env: { IMPROVE_URL: lab.url, IMPROVE_TOKEN: `${token}` },
    stdio: ['ignore', 'ignore', 'inherit'],
    reject: false,
  });
  await expect
    .poll(async () => (await lab.client.query(waitingAtGate)).rowCount, { timeout: 20_000 })
    .toBe(1);
  child.kill('SIGKILL');
  expect(await child).toMatchObject({ signal: 'SIGKILL' });

  const left = await database.surveyImprovement(upgrade, silent, never);
  expect(left.values).toBeGreaterThan(0);
  expect(left.values).toBeLessThan(before.values);
  const halfway = await models();
  const done = [...halfway].filter(([id, params]) => params !== untouched.get(id));
  expect(done.length).toBeGreaterThanOrEqual(100);

  // It ends what the killed process has left in the database.
  const fence = await database.fence('r-1');
  await lab.client.query('select pg_advisory_unlock(4713)');
  const report = await database.improve(upgrade, fence, silent, never);
  expect(report).toMatchObject({ upgraded: left.values, repaired: 0, missed: 0 });
  expect(await database.surveyImprovement(upgrade, silent, never)).toMatchObject({
    values: 0,
    formats: { legacy: 0, v2: before.formats.legacy + before.formats.v2 },
    leftAlone: before.leftAlone,
  });
  expect(await said()).toEqual(texts);
  const after = await models();
  for (const [id, params] of done) expect(after.get(id)).toBe(params);
});
