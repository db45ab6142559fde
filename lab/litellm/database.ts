import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Postgres } from '../postgres.ts';
import { withClient } from '../postgres.ts';
import { say, stopwatch } from '../report.ts';
import { ensureLiteLLM } from './install.ts';
import { splitStatements } from './statements.ts';

/** The database of each server that holds LiteLLM's schema and nothing else. */
const template = 'litellm_template';

const prepared = new WeakMap<Postgres, Promise<void>>();

/**
 * A database with LiteLLM's schema and no rows. The first one of a server applies LiteLLM's migrations (2 to 4 s), the
 * others are copies (0.1 s). Returns its connection string, by the superuser.
 */
export async function createLiteLLMDatabase(postgres: Postgres, name: string): Promise<string> {
  let ready = prepared.get(postgres);
  if (ready === undefined) prepared.set(postgres, (ready = migrate(postgres)));
  await ready;
  await postgres.createDatabase(name, template);
  return postgres.url(name);
}

async function migrate(postgres: Postgres): Promise<void> {
  await postgres.createDatabase(template);
  await applyMigrations(postgres.url(template));
}

/** Applies the SQL files of `litellm-proxy-extras` to an empty database, in their order, as `prisma migrate deploy` would. */
export async function applyMigrations(url: string): Promise<void> {
  const { packages } = await ensureLiteLLM();
  const since = stopwatch();
  const migrations = join(packages, 'litellm_proxy_extras/migrations');
  const names = (await readdir(migrations, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  await withClient(url, async (client) => {
    for (const name of names.sort()) {
      const file = join(migrations, name, 'migration.sql');
      for (const statement of splitStatements(await readFile(file, 'utf8'))) {
        await client.query(statement).catch((cause: unknown) => {
          throw new Error(`${name}: ${String(cause)}`, { cause });
        });
      }
    }
  });
  say(`litellm: ${names.length} migrations applied (${since()})`);
}
