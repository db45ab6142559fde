import { withClient, type Postgres } from '../lab/postgres.ts';
import { createRotationDatabase } from '../src/reencryption/rotation-database.ts';
import { Secret } from '../src/rotation/secret.ts';
import { benchKeys, fillDatabase } from './seed.ts';

/** How long it takes to find next to nothing. */
export interface Search {
  /** Rows that hold no sealed value. */
  readonly rows: number;
  readonly values: number;
  readonly seconds: readonly number[];
}

const plainKeys = 100_000;

/**
 * Counts the sealed values among virtual keys and request logs, every text and json column of which is searched: the logs
 * under another name, as they would be passed over by their own.
 */
export async function measureSearch(postgres: Postgres, runs: number, seed: number): Promise<Search> {
  const filled = await fillDatabase(postgres, 'search', 1, seed, plainKeys);
  await withClient(postgres.url('search'), (client) =>
    client.query('alter table "LiteLLM_SpendLogs" rename to "LiteLLM_Archive"; checkpoint'),
  );
  const key = { label: 'salt key', key: new Secret(benchKeys.from) };
  const database = createRotationDatabase({ connectionString: new Secret(postgres.url('search')) });
  const seconds: number[] = [];
  try {
    for (let at = 0; at < runs; at += 1) {
      const since = performance.now();
      const { underExpected } = await database.count(key, [], () => undefined, new AbortController().signal);
      seconds.push((performance.now() - since) / 1000);
      if (underExpected !== filled.values)
        throw new Error(`the search found ${underExpected} of ${filled.values} values`);
    }
  } finally {
    await database.close();
  }
  return { rows: 3 * plainKeys, values: filled.values, seconds };
}
