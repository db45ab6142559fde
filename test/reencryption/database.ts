import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { Client, escapeIdentifier } from 'pg';
import { startPostgres, type Postgres, type PostgresOptions } from '../../lab/postgres.ts';
import { createValueCipher } from '../../src/litellm/cipher.ts';
import type { SealedShape } from '../../src/litellm/sealed-value.ts';
import type { Fence } from '../../src/rotation/fence.ts';
import type { RotationError } from '../../src/rotation/failure.ts';
import type { NamedKey } from '../../src/rotation/keys.ts';
import { Secret } from '../../src/rotation/secret.ts';
import type { Improvement, RotationDatabase, Transition } from '../../src/reencryption/port.ts';
import {
  createRotationDatabase,
  type RotationDatabaseOptions,
} from '../../src/reencryption/rotation-database.ts';

export const previous: NamedKey = { label: 'salt key', key: new Secret('salt-previous') };
export const pending: NamedKey = { label: 'pending salt key', key: new Secret('salt-pending') };
export const beforeSalt: NamedKey = { label: 'master key', key: new Secret('sk-master-previous') };
export const transition: Transition = { known: [previous, beforeSalt], to: pending, from: previous };
export const masterKey = { from: new Secret('sk-master-previous'), to: new Secret('sk-master-pending') };
export const upgrade: Improvement = {
  sealing: previous,
  known: [previous, beforeSalt],
  upgradeTo: 'v2',
  repairSealedTwice: false,
};
export const silent = (): void => undefined;
export const never = new AbortController().signal;

const legacy: SealedShape = { format: 'legacy', marker: '', alphabet: 'urlsafe' };
export const v2: SealedShape = { ...legacy, format: 'v2' };
export const marked: SealedShape = { ...legacy, marker: 'litellm_enc::' };
const ciphers = new Map<NamedKey, ReturnType<typeof createValueCipher>>();

export function cipherOf(key: NamedKey): ReturnType<typeof createValueCipher> {
  const cipher = ciphers.get(key) ?? createValueCipher(key.key);
  ciphers.set(key, cipher);
  return cipher;
}

export function sealed(plaintext: string, key: NamedKey = previous, shape: SealedShape = legacy): string {
  return cipherOf(key).seal(Buffer.from(plaintext), shape);
}

/** The plaintext under the key, or undefined. */
export function opened(text: string, key: NamedKey): string | undefined {
  const value = cipherOf(key).open(text);
  return value === undefined ? undefined : Buffer.from(value.plaintext).toString();
}

/** Tables in the shape of LiteLLM's, for what needs no proxy. The types are those of its migrations. */
const tables = `
  create table "LiteLLM_ProxyModelTable" (model_id text primary key, model_name text not null, litellm_params jsonb not null, model_info jsonb, updated_at timestamp(3) not null default now());
  create table "LiteLLM_CredentialsTable" (credential_id text primary key, credential_name text not null unique, credential_values jsonb not null, credential_info jsonb);
  create table "LiteLLM_SSOIdentityAssertion" (user_id text primary key, assertion_b64 text not null);
  create table "LiteLLM_MCPServerTable" (server_id text primary key, credentials jsonb default '{}', env jsonb default '{}', env_vars jsonb default '[]');
  create table "LiteLLM_Config" (param_name text primary key, param_value jsonb);
  create table "LiteLLM_VerificationToken" (token text primary key, key_alias text, spend double precision not null default 0, models text[], metadata jsonb not null default '{}', updated_at timestamp(3) default now(), rotation_count integer, last_rotation_at timestamp(3));
  create table "LiteLLM_SpendLogs" (request_id text primary key, api_key text not null default '', metadata jsonb default '{}', messages jsonb default '{}');
  create table "Awkward ""Names""" ("Key ""1""" uuid default gen_random_uuid(), "Key 2" timestamptz(3), "Va""lue" json, parts text[], docs jsonb[], short varchar(400), upper text generated always as (upper(short)) stored, primary key ("Key ""1""", "Key 2"));
`;

const rows: readonly (() => readonly [string, readonly unknown[]])[] = [
  ...Array.from({ length: 40 }, (_, at) => (): readonly [string, readonly unknown[]] => [
    'insert into "LiteLLM_ProxyModelTable" values ($1, $2, $3, $4)',
    [
      `model-${at}`,
      `m-${at}`,
      JSON.stringify({
        model: sealed(`openai/gpt-${at}`),
        api_key: sealed(`PLAIN-key-${at}`, at % 7 === 0 ? beforeSalt : previous, at % 2 === 0 ? legacy : v2),
        note: 'ä'.repeat(at),
        use_in_pass_through: false,
        nested: { [sealed('a key stays')]: [1, sealed(`PLAIN-nested-${at}`)] },
      }),
      JSON.stringify({ id: `model-${at}`, created: '2026-11-24' }),
    ],
  ]),
  () => [
    'insert into "LiteLLM_CredentialsTable" values ($1, $2, $3, $4)',
    ['c-1', 'cred', JSON.stringify({ api_key: sealed('PLAIN-cred'), empty: sealed('', previous, v2) }), null],
  ],
  () => [
    'insert into "LiteLLM_CredentialsTable" values ($1, $2, $3, $4)',
    ['c-2', 'twice', JSON.stringify({ api_key: sealed(sealed('PLAIN-twice')) }), null],
  ],
  () => [
    'insert into "LiteLLM_CredentialsTable" values ($1, $2, $3, $4)',
    [
      'c-3',
      'lost',
      JSON.stringify({ api_key: sealed('PLAIN-lost', { label: 'x', key: new Secret('forgotten') }, v2) }),
      null,
    ],
  ],
  () => [
    'insert into "LiteLLM_SSOIdentityAssertion" values ($1, $2)',
    ['user-1', sealed('{"id_token":"PLAIN-assertion"}')],
  ],
  () => [
    'insert into "LiteLLM_MCPServerTable" values ($1, $2, $3, $4)',
    [
      'mcp-1',
      JSON.stringify({ auth_value: sealed('PLAIN-mcp') }),
      JSON.stringify(sealed('{"TOKEN":"PLAIN-whole-map"}')),
      JSON.stringify([{ name: 'A', value: sealed('PLAIN-env') }]),
    ],
  ],
  () => [
    'insert into "LiteLLM_Config" values ($1, $2)',
    ['environment_variables', JSON.stringify({ LANGFUSE: sealed('PLAIN-env-var') })],
  ],
  () => [
    'insert into "LiteLLM_Config" values ($1, $2)',
    [
      'in_a_string',
      JSON.stringify(JSON.stringify({ deep: sealed('PLAIN-in-a-string'), n: '12345678901234567890' })),
    ],
  ],
  ...Array.from({ length: 30 }, (_, at) => (): readonly [string, readonly unknown[]] => [
    'insert into "LiteLLM_VerificationToken" (token, key_alias, metadata) values ($1, $2, $3)',
    [
      randomBytes(32).toString('hex'),
      `key-${at}`,
      at % 3 === 0
        ? JSON.stringify({
            logging: [{ callback_vars: { secret: sealed(`PLAIN-callback-${at}`, previous, marked) } }],
          })
        : '{}',
    ],
  ]),
  () => [
    'insert into "LiteLLM_SpendLogs" (request_id, api_key) values ($1, $2)',
    [sealed('response id', previous, { ...legacy, marker: 'resp_' }), 'x'],
  ],
  () => [
    'insert into "Awkward ""Names""" ("Key 2", "Va""lue", parts, docs, short) values (now(), $1, $2, $3, $4)',
    [
      `{"b": 1e400, "a":12345678901234567890,"a" : "${sealed('PLAIN-json')}", "z":-0}`,
      ['one', null, sealed('PLAIN-element'), 'NULL', ''],
      [JSON.stringify({ x: sealed('PLAIN-doc') })],
      sealed('PLAIN-short'),
    ],
  ],
];

export interface TestDatabase {
  readonly url: string;
  readonly client: Client;
  /** A new view of it, closed with it. */
  rotationDatabase(options?: Partial<RotationDatabaseOptions>): RotationDatabase;
  close(): Promise<void>;
}

/** One Postgres a test file; each database a copy of a seeded one. */
export async function startTestServer(options: PostgresOptions = {}): Promise<{
  readonly server: Postgres;
  create(): Promise<TestDatabase>;
  stop(): Promise<void>;
}> {
  const server = await startPostgres(options);
  await server.createDatabase('seeded');
  const seeding = new Client({ connectionString: server.url('seeded') });
  await seeding.connect();
  await seeding.query(tables);
  for (const row of rows) {
    const [text, values] = row();
    await seeding.query(text, [...values]);
  }
  await seeding.end();
  let made = 0;
  return {
    server,
    async create() {
      const name = `test_${(made += 1)}`;
      await server.createDatabase(name, 'seeded');
      const url = server.url(name);
      const client = new Client({ connectionString: url });
      client.on('error', () => undefined);
      await client.connect();
      const opened: RotationDatabase[] = [];
      return {
        url,
        client,
        rotationDatabase(options = {}) {
          const database = createRotationDatabase({ connectionString: new Secret(url), ...options });
          opened.push(database);
          return database;
        },
        async close() {
          for (const database of opened) await database.close();
          await client.end();
        },
      };
    },
    stop: () => server.stop(),
  };
}

/** Prepares the journal, takes the lease, and returns a fence. */
export async function begin(database: RotationDatabase, rotation = 'r-1'): Promise<Fence> {
  await database.prepareJournal();
  await database.acquireLease({ rotation, target: 'test', workflowId: `w-${rotation}`, runId: '1' });
  return database.fence(rotation);
}

/** What a promise rejects with; one that resolves fails the test. */
export const failure = (promise: Promise<unknown>): Promise<RotationError> =>
  promise.then(
    () => Promise.reject(new Error('it was expected to fail')),
    (error: unknown) => error as RotationError,
  );

/** Every row of every table of the schema as text, by table: what a restore must give back. */
export async function dump(
  client: Client,
  except: readonly string[] = [],
): Promise<Record<string, readonly string[]>> {
  const { rows: found } = await client.query<{ name: string }>(
    `select c.relname as name from pg_class c where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') order by 1`,
  );
  const result: Record<string, readonly string[]> = {};
  for (const { name } of found) {
    if (except.includes(name)) continue;
    const { rows: texts } = await client.query<{ row: string }>(
      `select a::text as row from ${escapeIdentifier(name)} as a order by 1`,
    );
    result[name] = texts.map(({ row }) => row);
  }
  return result;
}

/** Every string that opens with one of the keys, in every table, with its plaintext: found by brute force, without src/reencryption. */
export async function plaintexts(
  client: Client,
  keys: readonly NamedKey[],
): Promise<readonly { label: string; plaintext: string }[]> {
  const found: { label: string; plaintext: string }[] = [];
  for (const texts of Object.values(await dump(client))) {
    for (const text of texts) {
      for (const [candidate] of text.matchAll(
        /(?:litellm_enc::|resp_)?(?:v2:gcm:)?[A-Za-z0-9_+/-]{38,}={0,2}/g,
      )) {
        for (const key of keys) {
          const plaintext = opened(candidate, key);
          if (plaintext !== undefined) found.push({ label: key.label, plaintext });
        }
      }
    }
  }
  return found;
}

/** Rows enough for a stage or a swap to be caught in the middle; each holds what `params` gives for its id. */
export async function fillModels(
  client: Client,
  count: number,
  params: (id: string) => object = (id) => ({ a: sealed(`PLAIN-${id}`) }),
): Promise<void> {
  const ids = Array.from({ length: count }, (_, at) => `filled-${at}`);
  await client.query(
    `insert into "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params) select i, i, p::jsonb from unnest($1::text[], $2::text[]) as u (i, p)`,
    [ids, ids.map((id) => JSON.stringify(params(id)))],
  );
}

/** Commits a statement of another session's before this process goes on, which waits for a child meanwhile. */
export function commitMeanwhile(url: string, sql: string): void {
  const program = `import pg from 'pg'; const client = new pg.Client(process.env.URL); await client.connect(); await client.query(process.env.SQL); await client.end();`;
  execFileSync(process.execPath, ['--input-type=module', '--eval', program], {
    env: { ...process.env, URL: url, SQL: sql },
  });
}

/** Each staged row with the transaction that wrote it: what is not done twice keeps both. */
export async function stagedRows(client: Pick<Client, 'query'>): Promise<string[]> {
  const { rows: found } = await client.query<{ row: string }>(
    'select s.key::text || s.after::text || s.xmin::text as row from litellm_rotate.staged as s order by 1',
  );
  return found.map(({ row }) => row);
}
