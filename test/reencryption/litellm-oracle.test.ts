import { afterAll, beforeAll, expect, test } from 'vitest';
import { createLiteLLMDatabase } from '../../lab/litellm/database.ts';
import { oracleRotate } from '../../lab/litellm/oracle.ts';
import { startLiteLLM } from '../../lab/litellm/proxy.ts';
import { seedLiteLLM, type Seeded } from '../../lab/litellm/seed.ts';
import { startPostgres, withClient, type Postgres } from '../../lab/postgres.ts';
import type { RotationDatabase } from '../../src/reencryption/port.ts';
import { createRotationDatabase } from '../../src/reencryption/rotation-database.ts';
import type { NamedKey } from '../../src/rotation/keys.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { begin, dump, never, opened, plaintexts, silent } from './database.ts';

const master = { from: new Secret('sk-master-of-the-oracle'), to: new Secret('sk-master-of-the-oracle-2') };
const from: NamedKey = { label: 'salt key', key: new Secret('sk-salt-of-the-oracle') };
// LiteLLM's own migration knows master keys only; without a salt key its master key is the signing key.
const to: NamedKey = { label: 'pending key', key: new Secret('sk-pending-of-the-oracle') };
const transition = { known: [from], to, from };

let postgres: Postgres;
let seeded: Seeded;
let database: RotationDatabase;
let before: Awaited<ReturnType<typeof dump>>;

/** Where each value stands, what it is, and which key opens it: table, path to the cell, plaintext. */
const valuesOf = (url: string): Promise<string[]> =>
  withClient(url, async (client) =>
    (await plaintexts(client, [from, to])).map(({ label, plaintext }) => `${label}: ${plaintext}`).sort(),
  );

beforeAll(async () => {
  postgres = await startPostgres();
  const url = await createLiteLLMDatabase(postgres, 'ours');
  const proxy = await startLiteLLM({
    databaseUrl: url,
    masterKey: master.from.reveal(),
    saltKey: from.key.reveal(),
  });
  seeded = await seedLiteLLM({
    url: proxy.url,
    masterKey: master.from.reveal(),
    databaseUrl: url,
    signingKey: from.key.reveal(),
  });
  await proxy.stop();
  // Postgres itself waits up to 5 s for the proxy's last sessions to end.
  await postgres.createDatabase('theirs', 'ours');
  await postgres.createDatabase('upgraded', 'ours');
  database = createRotationDatabase({ connectionString: new Secret(url) });
  before = await withClient(url, (client) => dump(client));
}, 300_000);

afterAll(async () => {
  await database.close();
  await postgres.stop();
});

test('every value that LiteLLM stored is found, and ours leaves none behind', async () => {
  const stored = await valuesOf(postgres.url('ours'));
  for (const plaintext of Object.values(seeded.plaintexts)) {
    expect(stored.some((line) => line.includes(plaintext))).toBe(true);
  }
  const fence = await begin(database);
  const inventory = await database.inventory([from], master.from, silent, never);
  expect(inventory.lines.filter(({ remark }) => remark === 'unreadable')).toEqual([]);
  expect(inventory.findings).toEqual([]);
  await database.stage(transition, fence, silent, never);
  const report = await database.swap(transition, master, fence, silent);
  expect(report.values).toBe(inventory.values);

  const after = await valuesOf(postgres.url('ours'));
  const clientIds = inventory.lines.filter(({ remark }) => remark === 'not carried over');
  const left = [...(await withClient(postgres.url('ours'), placed))]
    .filter(([, { label }]) => label === from.label)
    .map(([place]) => place);
  // A spend log's delivery (since 1.110) has its id once more in json, where it is not counted.
  expect(
    left.filter((place) => !/ \/ (request_id \/ |accounting_payload \/ \.request_id)$/.test(place)),
  ).toEqual([]);
  expect(left.filter((place) => place.endsWith(' / request_id / '))).toHaveLength(
    clientIds.reduce((sum, { values }) => sum + values, 0),
  );
  expect(after.filter((line) => line.startsWith(`${to.label}:`))).toHaveLength(inventory.values);
  expect(await database.count(to, [from], silent, never)).toEqual({
    underExpected: inventory.values,
    underOthers: 0,
    othersIn: [],
    unreadable: 0,
  });
});

test("LiteLLM's own re-encryption of a copy gives the same plaintexts in the same places, where it gives any", async () => {
  await oracleRotate({ databaseUrl: postgres.url('theirs'), from: from.key.reveal(), to: to.key.reveal() });
  const ours = await withClient(postgres.url('ours'), placed);
  const theirs = await withClient(postgres.url('theirs'), placed);
  const carried = [...theirs].filter(([, { label }]) => label === to.label);
  expect(carried.length).toBeGreaterThan(50);
  for (const [place, value] of carried) expect({ place, ...ours.get(place) }).toEqual({ place, ...value });
  // What it left behind, ours did not: all but the ids that clients hold.
  const left = [...theirs].filter(
    ([place, { label }]) => label === from.label && !place.includes('request_id'),
  );
  for (const [place] of left)
    expect({ place, label: ours.get(place)?.label }).toEqual({ place, label: to.label });
  // A table that LiteLLM seals into since 1.107, and that its own list has not got (`_SECRET_COLUMNS`, up to 1.110.2).
  const connection = 'LiteLLM_UserProviderCredentials / connection-1 / credential_b64 / ';
  if (theirs.has(connection)) {
    expect(theirs.get(connection)?.label).toBe(from.label);
    expect(ours.get(connection)?.label).toBe(to.label);
  }
}, 300_000);

test('a copy upgraded in place to v2 is to LiteLLM the same: its re-encryption opens every value that it opened before', async () => {
  const url = postgres.url('upgraded');
  const upgraded = createRotationDatabase({ connectionString: new Secret(url) });
  try {
    const asked = { sealing: from, known: [from], upgradeTo: 'v2', repairSealedTwice: false } as const;
    const fence = await begin(upgraded);
    const report = await upgraded.improve(asked, fence, silent, never);
    expect(report.upgraded).toBeGreaterThan(50);
    const left = await upgraded.surveyImprovement(asked, silent, never);
    expect(left).toMatchObject({ values: 0, formats: { legacy: 0 } });
    await upgraded.releaseLease(fence);
  } finally {
    await upgraded.close();
  }
  await oracleRotate({ databaseUrl: url, from: from.key.reveal(), to: to.key.reveal() });
  const theirs = await withClient(postgres.url('theirs'), placed);
  expect(await withClient(url, placed)).toEqual(theirs);
}, 300_000);

test('LiteLLM itself serves with the new keys, and a restore brings every row back byte for byte', async () => {
  const url = postgres.url('ours');
  const proxy = await startLiteLLM({
    databaseUrl: url,
    masterKey: master.to.reveal(),
    saltKey: to.key.reveal(),
  });
  const models = await fetch(`${proxy.url}/v1/models`, {
    headers: { authorization: `Bearer ${master.to.reveal()}` },
  });
  const { data } = (await models.json()) as { data: { id: string }[] };
  expect(data.map(({ id }) => id)).toContain('m-openai');
  const answer = await fetch(`${proxy.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${seeded.virtualKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm-openai', messages: [{ role: 'user', content: 'hi' }] }),
  });
  expect(answer.status).toBe(200);
  await proxy.stop();

  const fence = await database.fence('r-1');
  await database.restore(transition, master, fence, silent);
  expect(await database.count(from, [to], silent, never)).toMatchObject({ underOthers: 0, unreadable: 0 });
  const after = await withClient(url, (client) => dump(client));
  const sealing = [
    'LiteLLM_ProxyModelTable',
    'LiteLLM_CredentialsTable',
    'LiteLLM_GuardrailsTable',
    'LiteLLM_SSOConfig',
  ];
  for (const table of sealing) expect(after[table]).toEqual(before[table]);
}, 300_000);

interface Placed {
  readonly label: string;
  readonly plaintext: string;
}

/** The values of every text and json cell by table, primary key, column and path, told by Postgres' own jsonb paths. */
async function placed(client: Parameters<typeof dump>[0]): Promise<ReadonlyMap<string, Placed>> {
  const { rows: columns } = await client.query<{ table: string; column: string; key: string }>(
    `select c.relname as table, a.attname as column,
       (select string_agg(format('a.%I::text', k.attname), ' || '','' || ') from pg_index i join pg_attribute k on k.attrelid = c.oid and k.attnum = any (i.indkey)
        where i.indrelid = c.oid and i.indisprimary) as key
     from pg_class c join pg_attribute a on a.attrelid = c.oid
     where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0
       and a.atttypid in ('text'::regtype, 'jsonb'::regtype) and exists (select 1 from pg_index i where i.indrelid = c.oid and i.indisprimary)`,
  );
  const found = new Map<string, Placed>();
  for (const { table, column, key } of columns) {
    const { rows } = await client.query<{ key: string; value: unknown }>(
      `select ${key} as key, to_jsonb(a."${column}") as value from "${table}" as a where a."${column}" is not null`,
    );
    for (const row of rows) {
      for (const [path, text] of leaves(row.value)) {
        for (const key of [from, to]) {
          const plaintext = opened(text, key);
          if (plaintext === undefined) continue;
          found.set([table, row.key, column, path].join(' / '), { label: key.label, plaintext });
        }
      }
    }
  }
  return found;
}

function* leaves(value: unknown, path = ''): Generator<[string, string]> {
  if (typeof value === 'string') yield [path, value];
  else if (Array.isArray(value))
    for (const [at, item] of value.entries()) yield* leaves(item, `${path}[${at}]`);
  else if (value !== null && typeof value === 'object') {
    for (const [key, item] of Object.entries(value)) yield* leaves(item, `${path}.${key}`);
  }
}
