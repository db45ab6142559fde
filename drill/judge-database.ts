import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { escapeIdentifier, type Client } from 'pg';
import type { Written } from './busy-writer.ts';
import type { DrilledDeployment, ServiceKind } from './deployment.ts';
import type { Keys } from './key-file.ts';
import { openAll } from './sealing.ts';

/** Rows by table, as Postgres writes them. */
export type Rows = ReadonlyMap<string, readonly string[]>;

const tokens = 'LiteLLM_VerificationToken';

/** What LiteLLM writes by itself while it runs, whether anybody rotates or not. */
const writtenByLiteLLM =
  /SpendLog|^LiteLLM_Daily|CronJob|HealthCheck|^LiteLLM_Deleted|ErrorLogs|^LiteLLM_ProxyWorkerHeartbeat$/;

/** Every row that a rotation could change; not those that LiteLLM writes by itself. */
export async function readRows(client: Client, serviceKind: ServiceKind): Promise<Map<string, string[]>> {
  const { rows: tables } = await client.query<{ name: string }>(
    `select tablename as name from pg_tables where schemaname = 'public' order by 1`,
  );
  const found = new Map<string, string[]>();
  const isLiteLLM = serviceKind === 'litellm';
  for (const { name } of tables) {
    if (isLiteLLM && writtenByLiteLLM.test(name)) continue;
    // It notes on a virtual key when it was used.
    const line =
      isLiteLLM && name === tokens ? `(to_jsonb(t) - 'updated_at' - 'last_active')::text` : 't::text';
    // LiteLLM's own trigger counts changes of MCP servers there; the busy writer's rows have a ledger.
    const except =
      name === 'LiteLLM_Config'
        ? `where param_name <> 'mcp_catalog'`
        : name === 'LiteLLM_CredentialsTable'
          ? `where created_by <> 'busy'`
          : '';
    const { rows } = await client.query<{ line: string }>(
      `select ${line} as line from public.${escapeIdentifier(name)} t ${except} order by 1`,
    );
    if (rows.length > 0)
      found.set(
        name,
        rows.map((row) => row.line),
      );
  }
  return found;
}

/** Judges rows, tokens, journal and ledger; returns whether anything is lost. */
export async function judgeDatabase(
  client: Client,
  before: Rows,
  deployment: DrilledDeployment,
  { side, keys, problems }: { side: 'new' | 'restored'; keys: Keys; problems: string[] },
): Promise<boolean> {
  const { master, salt = '' } = deployment.keys;
  const rows = await readRows(client, deployment.serviceKind);
  let lost = false;
  let count = 0;
  for (const table of new Set([...before.keys(), ...rows.keys()])) {
    const [was, is] = [before.get(table) ?? [], rows.get(table) ?? []];
    if (side === 'restored') {
      if (same(was, is)) continue;
      problems.push(`${table}: the rows are not those of before`);
    }
    const opened = is.map((line) => openAll(line, [keys.salt, salt, master]));
    for (const { opened: numbers } of opened) {
      count += numbers[0] ?? 0;
      if (side === 'new' && numbers.slice(1).some((number) => number > 0))
        problems.push(`${table}: a row with values under a previous key`);
    }
    // The master key's row is renamed: it is looked at by itself.
    if (table === tokens && side === 'new') continue;
    const meant = was.map((line) => openAll(line, [salt, master]).text);
    if (same(meant.toSorted(), opened.map(({ text }) => text).toSorted())) continue;
    lost = true;
    problems.push(`${table}: what the values open to is not what they opened to before`);
  }
  if (side === 'new' && count < 300) problems.push(`only ${count} values open with the new key`);
  await judgeTokens(client, side === 'new' ? keys.master : master, problems);
  await judgeJournal(client, problems);
  return (await judgeLedger(client, deployment, side === 'new' ? [keys.salt] : [salt], problems)) || lost;
}

function same(some: readonly string[], others: readonly string[]): boolean {
  return some.join('\n') === others.join('\n');
}

async function judgeTokens(client: Client, master: string, problems: string[]): Promise<void> {
  const { rows } = await client.query<{ token: string; key_alias: string }>(
    `select token, key_alias from "${tokens}" order by key_alias`,
  );
  const expected = createHash('sha256').update(master).digest('hex');
  if (rows.length !== 2 || rows[0]?.token !== expected)
    problems.push(`${tokens}: found ${rows.length} rows, expected the master key's and the user's`);
}

async function judgeJournal(client: Client, problems: string[]): Promise<void> {
  const { rows: exists } = await client.query<{ found: boolean }>(
    `select to_regclass('litellm_rotate.token_image') is not null as found`,
  );
  if (exists[0]?.found !== true) return;
  const { rows } = await client.query<Record<string, string>>(`select
    (select count(*) from litellm_rotate.lease where rotation is not null) as "a lease",
    (select count(*) from litellm_rotate.staged) as "staged rows",
    (select count(*) from litellm_rotate.staged_relation) as "staged relations",
    (select count(*) from litellm_rotate.token_image) as "images of the token row"`);
  for (const [what, count] of Object.entries(rows[0] ?? {})) {
    if (Number(count) > 0) problems.push(`the journal still has ${what}`);
  }
}

async function judgeLedger(
  client: Client,
  deployment: DrilledDeployment,
  keys: readonly string[],
  problems: string[],
): Promise<boolean> {
  const text = await readFile(deployment.ledger, 'utf8').catch(() => '');
  if (text === '') return false;
  const possible = new Map<string, (string | null)[]>();
  for (const line of text.trimEnd().split('\n')) {
    const { id, secret, confirmed } = JSON.parse(line) as Written;
    if (confirmed) possible.set(id, [secret]);
    else possible.set(id, [...(possible.get(id) ?? [null]), secret]);
  }
  const { rows } = await client.query<{ id: string; text: string }>(
    `select credential_id as id, credential_values->>'api_key' as text from "LiteLLM_CredentialsTable" where created_by = 'busy'`,
  );
  const stored = new Map(rows.map(({ id, text: sealed }) => [id, openAll(sealed, keys).text]));
  const wrong = [...possible].filter(([id, secrets]) => {
    const found = stored.get(id);
    return !secrets.some((secret) =>
      secret === null ? found === undefined : found === `<sealed ${secret}>`,
    );
  });
  if (wrong.length > 0)
    problems.push(`${wrong.length} of ${possible.size} rows of the busy writer are not as it was told`);
  const unknown = [...stored.keys()].filter((id) => !possible.has(id));
  if (unknown.length > 0) problems.push(`${unknown.length} rows that nobody wrote`);
  return wrong.length > 0;
}
