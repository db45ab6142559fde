import { applyMigrations } from '../litellm/database.ts';
import { withClient } from '../postgres.ts';

// LiteLLM does this at each start by Prisma's schema engine, which is not among the packages that the lab installs.
const url = process.env.DATABASE_URL ?? '';
const isEmpty = await withClient(url, async (client) => {
  const { rows } = await client.query<{ empty: boolean }>(
    `select to_regclass('public."LiteLLM_Config"') is null as empty`,
  );
  return rows[0]?.empty === true;
});
if (isEmpty) await applyMigrations(url);
