import { setTimeout } from 'node:timers/promises';
import { Client } from 'pg';
import { beforeEach, describe, expect, test } from 'vitest';
import type { RotationDatabase } from '../../src/reencryption/port.ts';
import type { Fence, ReportProgress } from '../../src/rotation/fence.ts';
import {
  begin,
  beforeSalt,
  fillModels,
  masterKey,
  never,
  pending,
  previous,
  silent,
  transition,
  upgrade,
} from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();
let database: RotationDatabase;
let fence: Fence;

beforeEach(async () => {
  await fillModels(lab.client, 3000);
  // Some ten seconds for what is sealed here, as a stage that rests beside a busy LiteLLM.
  database = lab.rotationDatabase({ throttleValuesPerSecond: 300 });
  fence = await begin(database);
});

type Work = (progress: ReportProgress, signal: AbortSignal) => Promise<unknown>;
const works: [string, Work][] = [
  ['stage', (progress, signal) => database.stage(transition, fence, progress, signal)],
  ['a re-encryption in place', (progress, signal) => database.improve(upgrade, fence, progress, signal)],
];

/** Lends `use` the moment in which the models are read, with most of them still to come. */
async function amid(work: Work, use: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const { promise: reading, resolve } = Promise.withResolvers<void>();
  let ended = false;
  const running = work(({ note }) => note === 'LiteLLM_ProxyModelTable' && resolve(), stop.signal)
    .catch((error: unknown) => {
      if (!stop.signal.aborted) throw error;
    })
    .finally(() => (ended = true));
  await Promise.race([reading, running]);
  await use();
  expect(ended).toBe(false);
  stop.abort();
  await running;
}

describe.each(works)('%s', (_, work) => {
  test('lets go of its snapshots, so that Postgres can clean up what LiteLLM overwrites meanwhile', async () => {
    await amid(work, async () => {
      const { rows } = await lab.client.query<{ xid: string }>(
        'select (pg_current_xact_id()::text::bigint % 4294967296)::text as xid',
      );
      const older = async (): Promise<number> =>
        (
          await lab.client.query(
            `select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
               and age(backend_xmin) >= age($1::xid)`,
            [rows[0]?.xid],
          )
        ).rowCount ?? 0;
      await expect.poll(older, { timeout: 5_000, interval: 20 }).toBe(0);
    });
  });

  test('keeps out whoever would give all rows of a table other places while it is read', async () => {
    await amid(work, async () => {
      const other = new Client({ connectionString: lab.url });
      await other.connect();
      await other.query("set lock_timeout = '200ms'");
      await expect(other.query('vacuum full "LiteLLM_ProxyModelTable"')).rejects.toMatchObject({
        code: '55P03',
      });
      await other.end();
    });
  });
});

/** Rows that grow and shrink find room elsewhere in their table: ahead of where it is read, and behind. */
async function whileRowsMove<T>(work: Promise<T>): Promise<T> {
  let ended = false;
  const done = work.finally(() => (ended = true));
  const other = new Client({ connectionString: lab.url });
  await other.connect();
  for (let at = 0; !ended; at += 1) {
    await other.query(
      `update "LiteLLM_ProxyModelTable" set model_info = jsonb_build_object('note', repeat('x', (random() * 900)::int))
        where hashtext(model_id || $1) % 20 = 0`,
      [`${at}`],
    );
    if (at % 20 === 0) await other.query('vacuum "LiteLLM_ProxyModelTable"');
    await setTimeout(5);
  }
  await other.end();
  return done;
}

test('stage and swap carry over every value of rows that move while they are read', async () => {
  database = lab.rotationDatabase({ throttleValuesPerSecond: 3_000, backOff: false });
  const { values } = await whileRowsMove(database.stage(transition, fence, silent, never));
  expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({ values });
  expect(await database.count(pending, [previous, beforeSalt], silent, never)).toMatchObject({
    underExpected: values,
    underOthers: 0,
  });
});

test('a re-encryption in place finds rows that move from where it is yet to look to where it was', async () => {
  // The free places that they move to, before the first row.
  const free = '(40,0)';
  await lab.client.query(`delete from "LiteLLM_ProxyModelTable" where ctid < '${free}'`);
  await lab.client.query('vacuum "LiteLLM_ProxyModelTable"');
  const { rows } = await lab.client.query<{ id: string }>(
    'select model_id as id from "LiteLLM_ProxyModelTable" order by ctid desc limit 100',
  );
  const last = rows.map(({ id }) => id);
  database = lab.rotationDatabase({ throttleValuesPerSecond: 1_000, backOff: false });
  const { values } = await database.surveyImprovement(upgrade, silent, never);
  let moving: Promise<unknown> | undefined;
  const report = await database.improve(
    upgrade,
    fence,
    ({ done, note }) => {
      if (note !== 'LiteLLM_ProxyModelTable' || done < 200) return;
      moving ??= lab.client.query(
        `update "LiteLLM_ProxyModelTable" set model_info = '{"note": "longer"}' where model_id = any ($1)`,
        [last],
      );
    },
    never,
  );
  await moving;
  const { rowCount } = await lab.client.query(
    `select 1 from "LiteLLM_ProxyModelTable" where model_id = any ($1) and ctid < '${free}'`,
    [last],
  );
  expect(rowCount).toBeGreaterThan(0);
  expect(report).toMatchObject({ upgraded: values, missed: 0 });
  expect(await database.surveyImprovement(upgrade, silent, never)).toMatchObject({ values: 0 });
});
