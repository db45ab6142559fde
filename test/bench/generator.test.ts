import { afterAll, beforeAll, expect, test } from 'vitest';
import { benchKeys, fillDatabase, type Filled } from '../../bench/seed.ts';
import { assertCarriedOver, runOurs, runPeer, withCopy } from '../../bench/sides.ts';
import { startPostgres, withClient, type Postgres } from '../../lab/postgres.ts';
import { createRotationDatabase } from '../../src/reencryption/rotation-database.ts';
import { Secret } from '../../src/rotation/secret.ts';

const wanted = 300;
let postgres: Postgres;
let filled: Filled;

beforeAll(async () => {
  postgres = await startPostgres();
  filled = await fillDatabase(postgres, 'filled', wanted, 1);
});
afterAll(() => postgres.stop());

const inventory = async (): Promise<{ values: number; shapes: Set<string>; tables: Set<string> }> => {
  const database = createRotationDatabase({ connectionString: new Secret(postgres.url('filled')) });
  const known = [{ label: 'salt key', key: new Secret(benchKeys.from) }];
  const { values, lines } = await database.inventory(
    known,
    new Secret('sk-none'),
    () => undefined,
    new AbortController().signal,
  );
  await database.close();
  return {
    values,
    shapes: new Set(lines.map(({ marker, format }) => marker + format)),
    tables: new Set(lines.map(({ table }) => table)),
  };
};

const digest = (name: string): Promise<string> =>
  withClient(postgres.url(name), async (client) => {
    const { rows } = await client.query<{ digest: string }>(
      `select md5(string_agg(t::text, '' order by model_id)) as digest from "LiteLLM_ProxyModelTable" as t`,
    );
    return rows[0]?.digest ?? '';
  });

test('the generator seals what it says, in both formats, with and without a marker, over LiteLLM’s tables', async () => {
  expect(filled.values).toBeGreaterThanOrEqual(wanted);
  expect(filled.values).toBeLessThan(wanted + 10);
  const found = await inventory();
  expect(found.values).toBe(filled.values);
  expect([...found.shapes].sort()).toEqual(['legacy', 'litellm_enc::legacy', 'litellm_enc::v2', 'v2']);
  expect(found.tables.size).toBe(9);
});

test('the same seed gives the same database, and another one another', async () => {
  await fillDatabase(postgres, 'again', wanted, 1);
  await fillDatabase(postgres, 'other', wanted, 2);
  expect(await digest('again')).toBe(await digest('filled'));
  expect(await digest('other')).not.toBe(await digest('filled'));
});

test.for([
  ['the peer', runPeer],
  ['ours', runOurs],
] as const)('%s carries every value over, and the check sees one that it did not', async ([side, run]) => {
  await withCopy(postgres, 'filled', async (name) => {
    const report = await run(postgres, postgres.url(name));
    expect(report.values).toBe(filled.values);
    expect(report.seconds).toBeGreaterThan(0);
    expect(report.clientCpuSeconds + report.serverCpuSeconds).toBeGreaterThan(0);
    const check = (): Promise<void> =>
      assertCarriedOver(postgres.url('filled'), postgres.url(name), filled.values, side);
    await check();

    // One row is put back: its values are under the previous key again.
    const { rows } = await withClient(postgres.url('filled'), (client) =>
      client.query<{ team_id: string; metadata: object }>(
        'select team_id, metadata from "LiteLLM_TeamTable" limit 1',
      ),
    );
    await withClient(postgres.url(name), (client) =>
      client.query('update "LiteLLM_TeamTable" set metadata = $2 where team_id = $1', [
        rows[0]?.team_id,
        JSON.stringify(rows[0]?.metadata),
      ]),
    );
    await expect(check()).rejects.toThrow(
      `${filled.values - 3} of ${filled.values} values were carried over`,
    );
  });
});
