import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, readdir, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { escapeIdentifier, type Client } from 'pg';
import { withClient } from '../lab/postgres.ts';
import type { Written } from './busy-writer.ts';
import type { DrilledDeployment, ServiceKind } from './deployment.ts';
import { openAll } from './sealing.ts';

/*
 * The judge. It shares no code with src/, and believes nothing that a rotation says of itself: it reads the files, opens
 * the stored values with its own ciphers, and calls the service.
 */

interface FileState {
  readonly path: string;
  readonly bytes: string;
  readonly mode: number;
  readonly owner: string;
}

/** A deployment as it stood before the rotation. */
export interface Before {
  readonly files: readonly FileState[];
  readonly names: readonly string[];
  /** Rows by table, as Postgres writes them. */
  readonly rows: ReadonlyMap<string, readonly string[]>;
  readonly models: readonly string[];
}

/** Where everything is: on one side, with nothing left over; else what is wrong, in words without secrets. */
export interface Verdict {
  readonly side: 'new' | 'restored' | 'between' | 'lost';
  readonly problems: readonly string[];
}

export async function look(deployment: DrilledDeployment): Promise<Before> {
  return {
    files: await Promise.all([deployment.keyFile, deployment.envFile].map(readState)),
    names: (await readdir(deployment.directory)).sort(),
    rows: await withClient(deployment.databaseUrl, (client) => readRows(client, deployment.serviceKind)),
    models: await modelsOf(deployment.url, deployment.keys.master),
  };
}

/** Judges the deployment. Waits for nothing: call it when the workflow has ended. */
export async function judge(
  deployment: DrilledDeployment,
  before: Before,
  virtualKey: string,
): Promise<Verdict> {
  const problems: string[] = [];
  const files = await Promise.all([deployment.keyFile, deployment.envFile].map(readState));
  const [keyFile] = files;
  const keys = keysIn(keyFile?.bytes ?? '');
  const { master, salt = '' } = deployment.keys;
  const side = keys.master === master ? 'restored' : 'new';

  judgeFiles(before, files, { from: { master, salt }, to: keys }, problems);
  const names = (await readdir(deployment.directory)).sort();
  const left = names.filter((name) => !before.names.includes(name) && name !== basename(deployment.ledger));
  if (left.length > 0) problems.push(`left behind: ${left.join(', ')}`);

  await judgeService(deployment, before, { side, keys, virtualKey, problems });
  // The writer goes on, under the key that is in force: its ledger and its rows agree only once it has ended.
  if (existsSync(deployment.ledger)) await deployment.stop();
  const lost = await withClient(deployment.databaseUrl, (client) =>
    judgeDatabase(client, before, deployment, { side, keys, problems }),
  );
  const boots = deployment.serviceKind === 'litellm' ? '' : await readFile(deployment.bootLog, 'utf8');
  const refused = boots.split('\n').filter((line) => line.startsWith('refused')).length;
  if (refused > 0)
    problems.push(`the service was started ${refused} time(s) with a key that does not open its values`);
  if (lost) return { side: 'lost', problems };
  return { side: problems.length > 0 ? 'between' : side, problems };
}

interface Keys {
  readonly master: string;
  readonly salt: string;
}

/** Of each name the last assignment, without quotes: what a shell makes of the files that the drill writes. */
export function keysIn(text: string): Keys {
  const value = (name: string): string =>
    text
      .split('\n')
      .findLast((line) => line.startsWith(`${name}=`))
      ?.slice(name.length + 1)
      .replaceAll(/^["']|["']$/g, '') ?? '';
  return { master: value('LITELLM_MASTER_KEY'), salt: value('LITELLM_SALT_KEY') };
}

async function readState(path: string): Promise<FileState> {
  const { mode, uid, gid } = await stat(path);
  return { path, bytes: await readFile(path, 'latin1'), mode: mode & 0o7777, owner: `${uid}:${gid}` };
}

function judgeFiles(
  before: Before,
  files: readonly FileState[],
  { from, to }: { from: Keys; to: Keys },
  problems: string[],
): void {
  for (const [at, { path, bytes, mode, owner }] of files.entries()) {
    const was = before.files[at];
    const expected = was?.bytes.replaceAll(from.master, to.master).replaceAll(from.salt, to.salt);
    if (bytes !== expected) problems.push(`${basename(path)} has other bytes than one side's`);
    if (mode !== was?.mode || owner !== was.owner)
      problems.push(`${basename(path)} has another mode or owner than before`);
  }
}

const tokens = 'LiteLLM_VerificationToken';

/** What LiteLLM writes by itself while it runs, whether anybody rotates or not. */
const writtenByLiteLLM =
  /SpendLog|^LiteLLM_Daily|CronJob|HealthCheck|^LiteLLM_Deleted|ErrorLogs|^LiteLLM_ProxyWorkerHeartbeat$/;

async function readRows(client: Client, serviceKind: ServiceKind): Promise<Map<string, string[]>> {
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

/** Returns whether anything is lost. */
async function judgeDatabase(
  client: Client,
  before: Before,
  deployment: DrilledDeployment,
  { side, keys, problems }: { side: 'new' | 'restored'; keys: Keys; problems: string[] },
): Promise<boolean> {
  const { master, salt = '' } = deployment.keys;
  const rows = await readRows(client, deployment.serviceKind);
  let lost = false;
  let count = 0;
  for (const table of new Set([...before.rows.keys(), ...rows.keys()])) {
    const [was, is] = [before.rows.get(table) ?? [], rows.get(table) ?? []];
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

async function judgeService(
  deployment: DrilledDeployment,
  before: Before,
  {
    side,
    keys,
    virtualKey,
    problems,
  }: { side: 'new' | 'restored'; keys: Keys; virtualKey: string; problems: string[] },
): Promise<void> {
  const status = (key: string): Promise<number> =>
    fetch(`${deployment.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } }).then(
      (answer) => answer.status,
      () => 0,
    );
  if ((await status(keys.master)) !== 200) {
    problems.push('the service is not up with the key of the files');
    return;
  }
  if (side === 'new' && (await status(deployment.keys.master)) !== 401)
    problems.push('the service does not refuse the previous master key');
  if ((await status(virtualKey)) !== 200) problems.push('the stored virtual key is refused');
  const models = await modelsOf(deployment.url, keys.master);
  if (models.join() !== before.models.join()) problems.push('it serves other models than before');
}

async function modelsOf(url: string, master: string): Promise<string[]> {
  const answer = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${master}` } });
  const { data } = (await answer.json()) as { data: { id: string }[] };
  return data.map(({ id }) => id).sort();
}

/** The directory that holds the slot while a rotation is under way, beside the key file. */
export function slotPath(deployment: DrilledDeployment): string {
  return `${dirname(deployment.keyFile)}/.litellm-rotate/slot.json`;
}
