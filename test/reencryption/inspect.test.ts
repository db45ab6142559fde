import { Client, escapeIdentifier } from 'pg';
import { beforeAll, describe, expect, test } from 'vitest';
import { createRotationDatabase } from '../../src/reencryption/rotation-database.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { beforeSalt, masterKey, never, previous, sealed, silent } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();

beforeAll(async () => {
  await lab.server.createUser('rotator');
  await lab.server.createUser('proxy');
  await lab.server.createUser('locked_out');
});

/** What is found by the role `rotator`, by code. */
async function findings(): Promise<ReadonlyMap<string, { severity: string; next: string; where: string }>> {
  const url = new URL(lab.url);
  url.username = 'rotator';
  const database = createRotationDatabase({ connectionString: new Secret(url.href) });
  try {
    return new Map((await database.inspect()).map((finding) => [finding.code, finding]));
  } finally {
    await database.close();
  }
}

test('a superuser finds nothing to say about an ordinary database', async () => {
  expect(await lab.rotationDatabase().inspect()).toEqual([]);
});

test('a role without rights is told what to run, and with it nothing is left to say', async () => {
  const first = await findings();
  expect([...first.keys()].sort()).toEqual(['missing-privileges', 'no-journal-schema']);
  for (const { severity, next } of first.values()) {
    expect(severity).toBe('blocking');
    await lab.client.query(next.slice(next.indexOf(': ') + 2));
  }
  expect([...(await findings()).keys()]).toEqual([]);
});

test('row-level security that may hide rows blocks', async () => {
  await lab.client
    .query(`grant create on database ${escapeIdentifier(new URL(lab.url).pathname.slice(1))} to rotator;
    grant select, update on all tables in schema public to rotator;
    alter table "LiteLLM_CredentialsTable" enable row level security`);
  expect([...(await findings()).values()]).toMatchObject([
    {
      code: 'row-security',
      severity: 'blocking',
      where: expect.stringContaining('LiteLLM_CredentialsTable'),
    },
  ]);
});

test("triggers are listed: LiteLLM's own as a note, one that can alter a row as a warning", async () => {
  await lab.client.query(`create function f() returns trigger language plpgsql as $$ begin return new; end $$;
    create trigger litellm_mcp_catalog_revision after update on "LiteLLM_MCPServerTable" execute function f();
    create trigger theirs before update on "LiteLLM_Config" for each row execute function f()`);
  expect(await lab.rotationDatabase().inspect()).toMatchObject([
    { severity: 'warning', code: 'update-trigger', where: 'table LiteLLM_Config' },
    { severity: 'note', code: 'update-trigger', where: 'table LiteLLM_MCPServerTable' },
  ]);
});

test("LiteLLM's trigger on its MCP servers needs an INSERT elsewhere: without it a rotation blocks, and says what to run", async () => {
  await lab.client.query(`create function f() returns trigger language plpgsql as $$ begin return new; end $$;
    create trigger litellm_mcp_catalog_revision after update on "LiteLLM_MCPServerTable" execute function f();
    grant create on database ${escapeIdentifier(new URL(lab.url).pathname.slice(1))} to rotator;
    grant select, update on all tables in schema public to rotator`);
  const finding = (await findings()).get('trigger-needs-insert');
  expect(finding).toMatchObject({ severity: 'blocking', where: 'table LiteLLM_Config' });
  await lab.client.query((finding?.next ?? '').replace(/^.*: /, ''));
  expect([...(await findings()).keys()]).toEqual(['update-trigger']);
});

test('a database that takes no writes, and one that is not LiteLLM’s, block', async () => {
  await lab.client.query(
    `alter database ${escapeIdentifier(new URL(lab.url).pathname.slice(1))} set default_transaction_read_only = on`,
  );
  expect(await lab.rotationDatabase().inspect()).toMatchObject([
    { severity: 'blocking', code: 'database-read-only' },
  ]);
  expect(await lab.rotationDatabase({ schema: 'elsewhere' }).inspect()).toMatchObject([
    { code: 'database-read-only' },
    { severity: 'blocking', code: 'no-litellm-tables' },
  ]);
});

test('a pooler in between, as Prisma marks it, is warned of', async () => {
  const database = createRotationDatabase({ connectionString: new Secret(`${lab.url}?pgbouncer=true`) });
  expect(await database.inspect()).toMatchObject([{ severity: 'warning', code: 'database-behind-pooler' }]);
  await database.close();
});

test('few free connections are warned of, with their number', async () => {
  const { rows } = await lab.client.query<{ free: number }>(
    `select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
      - count(*)::int as free from pg_stat_activity where backend_type = 'client backend'`,
  );
  // One is for the look itself.
  const idle = Array.from(
    { length: (rows[0]?.free ?? 0) - 4 },
    () => new Client({ connectionString: lab.url }),
  );
  await Promise.all(idle.map((client) => client.connect()));
  expect(await lab.rotationDatabase().inspect()).toMatchObject([
    {
      severity: 'warning',
      code: 'few-connections-left',
      found: expect.stringMatching(/^[1-4] free connections$/) as string,
    },
  ]);
  await Promise.all(idle.map((client) => client.end()));
});

test('a role of the proxy that there is not blocks: no session of it would ever be found', async () => {
  expect(await lab.rotationDatabase({ proxyRole: 'proxy' }).inspect()).toEqual([]);
  expect(await lab.rotationDatabase({ proxyRole: 'litelm' }).inspect()).toMatchObject([
    { severity: 'blocking', code: 'no-proxy-role', found: 'no role litelm' },
  ]);
});

test('a text that is no connection string is refused, and not repeated', () => {
  expect(() => createRotationDatabase({ connectionString: new Secret('hunter2') })).toThrow(
    /^the connection string of the database cannot be parsed; expected postgresql:/,
  );
});

test('a connection string that names a file that cannot be read is refused with that file', () => {
  const url = `${lab.url}?sslmode=verify-full&sslrootcert=/no/such/root.pem`;
  expect(() => createRotationDatabase({ connectionString: new Secret(url) })).toThrow(
    /^the connection string of the database: found ENOENT when reading \/no\/such\/root\.pem; expected/,
  );
});

describe('a connection string that no retry mends', () => {
  test.for([
    ['a wrong password', { password: 'hunter2' }, /found that it refuses the user or the password \(28P01/],
    ['a user that there is not', { username: 'nobody' }, /found that it refuses the user or the password/],
    ['no password', { password: '' }, /found that it asks for a password, and none to give/],
    [
      'a user that may not log in',
      { username: 'locked_out' },
      /found that it does not let this user in \(28000/,
    ],
    ['a database that there is not', { pathname: '/nosuch' }, /found no database of that name \(3D000/],
    ['a host that there is not', { hostname: 'nosuch.invalid' }, /found no host of that name \(ENOTFOUND\)/],
    [
      'TLS where the server has none',
      { search: '?sslmode=verify-full' },
      /by TLS \(it offers none\).*sslmode/,
    ],
  ] as const)('is told apart, and not repeated: %s', async ([, wrong, found]) => {
    await lab.client.query('alter role locked_out nologin');
    const url = Object.assign(new URL(lab.url), wrong);
    const database = createRotationDatabase({ connectionString: new Secret(url.href) });
    const error: unknown = await database.inspect().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ type: 'DatabaseMisconfigured' });
    const { message } = error as Error;
    expect(message).toMatch(found);
    expect(message.startsWith(`${database.description}: found`)).toBe(true);
    expect(message).toContain('which a worker reads at its start');
    expect(message).not.toMatch(/hunter2|nobody|locked_out/);
    await database.close();
  });
});

test("sessions of the proxy's role are seen, ours and other roles' are not", async () => {
  const url = new URL(lab.url);
  url.username = 'proxy';
  const proxy = new Client({ connectionString: url.href, application_name: 'litellm proxy' });
  await proxy.connect();
  const database = lab.rotationDatabase({ proxyRole: 'proxy' });
  expect(await database.proxySessions()).toMatchObject([
    { role: 'proxy', application: 'litellm proxy', client: '127.0.0.1' },
  ]);
  await proxy.end();
  await expect.poll(() => database.proxySessions()).toEqual([]);
  // The owner of the tables is postgres, as which the test itself is connected.
  expect(await lab.rotationDatabase().proxySessions()).toMatchObject([{ role: 'postgres' }]);
});

test("sessions of the proxy's role count where a role may not see what they are, as nothing is proved by not looking", async () => {
  const as = (user: string) => Object.assign(new URL(lab.url), { username: user }).href;
  const proxy = new Client({ connectionString: as('proxy') });
  await proxy.connect();
  const database = createRotationDatabase({
    connectionString: new Secret(as('rotator')),
    proxyRole: 'proxy',
  });
  expect(await database.proxySessions()).toMatchObject([{ role: 'proxy' }]);
  await proxy.end();
  await expect.poll(() => database.proxySessions()).toEqual([]);
  await database.close();
});

test('an inventory names what is skipped, what is sealed twice, unreadable, or known by clients', async () => {
  await lab.client.query('create table "Keyed" (secret text primary key, other text)');
  await lab.client.query('insert into "Keyed" values ($1, $2)', [
    sealed('PLAIN-in-a-key'),
    sealed('PLAIN-beside'),
  ]);
  const { lines, values, rows, columns, skipped } = await lab
    .rotationDatabase({ extraSkippedTables: ['LiteLLM_Config'] })
    .inventory([previous, beforeSalt], masterKey.from, silent, never);
  const remarks = lines
    .filter(({ remark }) => remark !== '')
    .map(({ table, key, remark, values: n }) => [table, key, remark, n]);
  expect(remarks).toEqual([
    ['Keyed', 'salt key', 'not carried over', 1],
    ['LiteLLM_CredentialsTable', null, 'unreadable', 1],
    ['LiteLLM_CredentialsTable', 'salt key', 'sealed twice', 1],
    ['LiteLLM_SpendLogs', 'salt key', 'not carried over', 1],
  ]);
  expect(lines.filter(({ key }) => key === 'master key').reduce((sum, line) => sum + line.values, 0)).toBe(6);
  expect({ values, rows, columns }).toEqual({ values: 142, rows: 56, columns: 12 });
  expect(skipped.map(({ table, why }) => [table, why])).toEqual([
    ['LiteLLM_Config', 'excluded by configuration'],
    ['LiteLLM_SpendLogs', 'request log'],
  ]);
});

test('a request log in partitions is as large as they are, and told as skipped, not as empty', async () => {
  await lab.client.query(`
    drop table "LiteLLM_SpendLogs";
    create table "LiteLLM_SpendLogs" (request_id text, at date, note text, primary key (request_id, at)) partition by range (at);
    create table "LiteLLM_SpendLogs_p20260101" partition of "LiteLLM_SpendLogs" for values from ('2026-01-01') to ('2026-01-02');
    insert into "LiteLLM_SpendLogs" select i, '2026-01-01', repeat('x', 400) from generate_series(1, 1000) i`);
  const { skipped } = await lab.rotationDatabase().inventory([previous], masterKey.from, silent, never);
  const log = skipped.find(({ table }) => table === 'LiteLLM_SpendLogs');
  expect(log?.rows).toBeGreaterThan(500);
  expect(log?.rows).toBeLessThan(2000);
});
