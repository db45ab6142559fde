import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseEnv } from 'node:util';
import { escapeIdentifier } from 'pg';
import type { Deployment } from '../../lab/deployment.ts';
import { withClient } from '../../lab/postgres.ts';

/** What one file is to whoever reads it: bytes, mode and owner. */
export async function imageOf(path: string): Promise<string> {
  const { mode, uid, gid } = await stat(path);
  return `${mode.toString(8)} ${uid}:${gid}\n${await readFile(path, 'utf8')}`;
}

/** The value of a name in an env file of plain lines. */
export async function valueIn(path: string, name: string): Promise<string> {
  return parseEnv(await readFile(path, 'utf8'))[name] ?? '';
}

/** What LiteLLM writes by itself, whether anybody rotates or not: logs, what is summed up from them, lists of its own jobs. */
const writtenByLiteLLM =
  /SpendLog|^LiteLLM_Daily|CronJob|HealthCheck|^LiteLLM_Deleted|ErrorLogs|^LiteLLM_ProxyWorkerHeartbeat$/;

/**
 * Exceptions within a table: the counter that LiteLLM's own trigger raises whenever a row of its MCP servers is written,
 * and the times and the spend that LiteLLM notes on a virtual key that is used.
 */
const rowsByTable: Readonly<Record<string, string>> = {
  LiteLLM_Config: `select t::text as row from "LiteLLM_Config" t where param_name <> 'mcp_catalog' order by 1`,
  LiteLLM_VerificationToken: `select (to_jsonb(t) - 'updated_at' - 'last_active' - 'spend' - 'total_spend')::text as row from "LiteLLM_VerificationToken" t order by 1`,
};

/** Every row of LiteLLM's tables as text, by table, but what LiteLLM writes by itself. */
export async function rowsOf(databaseUrl: string): Promise<Record<string, string[]>> {
  return withClient(databaseUrl, async (client) => {
    const { rows: tables } = await client.query<{ name: string }>(
      `select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = 'public' and c.relkind in ('r', 'p') order by 1`,
    );
    const found: Record<string, string[]> = {};
    for (const { name } of tables) {
      if (writtenByLiteLLM.test(name)) continue;
      const select = rowsByTable[name] ?? `select t::text as row from ${escapeIdentifier(name)} t order by 1`;
      found[name] = (await client.query<{ row: string }>(select)).rows.map(({ row }) => row);
    }
    return found;
  });
}

/** The status of a call with a master key, and the models that it is shown. */
export async function modelsOf(url: string, key: string): Promise<{ status: number; models: string[] }> {
  const answer = await fetch(`${url}/v1/models`, {
    headers: { authorization: `Bearer ${key}` },
    signal: AbortSignal.timeout(20_000),
  });
  const { data = [] } = (await answer.json()) as { data?: { id: string }[] };
  return { status: answer.status, models: data.map(({ id }) => id).sort() };
}

/** The status of a chat completion through a stored model, with a stored virtual key. */
export async function callModel(url: string, key: string, model = 'm-provider'): Promise<number> {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'ping' }] }),
    signal: AbortSignal.timeout(20_000),
  });
  await answer.body?.cancel();
  return answer.status;
}

/** Names beside the key file that a rotation may leave behind. */
export async function leftovers({ keyFile, envFile }: Deployment): Promise<string[]> {
  const names = await readdir(dirname(keyFile), { recursive: true });
  const known = new Set([keyFile, envFile]);
  return names.filter(
    (name) => /litellm-rotate|\.007|env\.litellm/.test(name) && !known.has(join(dirname(keyFile), name)),
  );
}

/** What our journal keeps that must be gone when a rotation has ended. */
export async function journalRest(databaseUrl: string): Promise<{ lease: string | null; staged: number }> {
  return withClient(databaseUrl, async (client) => {
    const { rows } = await client.query<{ lease: string | null; staged: string }>(
      'select (select rotation from litellm_rotate.lease) as lease, (select count(*) from litellm_rotate.staged) as staged',
    );
    return { lease: rows[0]?.lease ?? null, staged: Number(rows[0]?.staged) };
  });
}
