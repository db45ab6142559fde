import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import type { Postgres, PostgresOptions } from '../../lab/postgres.ts';
import { startTestServer, type TestDatabase } from './database.ts';

/** The database of the test that runs. */
export interface CurrentDatabase extends Omit<TestDatabase, 'close'> {
  readonly server: Postgres;
  /** Runs a statement, and gives the first row of its answer. */
  readonly run: (sql: string, values?: unknown[]) => Promise<Record<string, string>>;
}

/** One Postgres for the tests of a file, or of a `describe`, and for each of them a seeded database of its own. */
export function useTestDatabase(options: PostgresOptions = {}): CurrentDatabase {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  let current: TestDatabase;
  beforeAll(async () => {
    server = await startTestServer(options);
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    current = await server.create();
  });
  afterEach(() => current.close());
  return {
    get server() {
      return server.server;
    },
    get url() {
      return current.url;
    },
    get client() {
      return current.client;
    },
    run: async (sql, values = []) => (await current.client.query(sql, values)).rows[0],
    rotationDatabase: (options) => current.rotationDatabase(options),
  };
}
