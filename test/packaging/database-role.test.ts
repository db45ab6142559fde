import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { onPath } from '../../lab/child.ts';
import { majorOfPostgres } from '../../lab/postgres-binaries.ts';
import { type Postgres, startPostgres, withClient } from '../../lab/postgres.ts';
import { createRotationDatabase } from '../../src/reencryption/rotation-database.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { runSqlFile } from '../psql.ts';
import { cannotDump } from '../rehearsal/dump-programs.ts';
import { root } from './project.ts';

// `\getenv` is there from psql 15 on.
const major = Number(
  /\d+/.exec((await execa('psql', ['--version'], { reject: false })).stdout ?? '')?.[0] ?? 0,
);
const why = onPath('psql') === undefined ? 'psql is not installed' : 'psql is older than 15';
const server = await majorOfPostgres();
const noDump = await cannotDump();
if (noDump !== undefined) console.log(`pg_dump is not run as LiteLLM's own role: ${noDump}`);
if (major < 15) console.log(`packaging/database-role.sql is not run: ${why}`);

const tables = `
  create table "LiteLLM_VerificationToken" (token text primary key, metadata jsonb);
  create table "LiteLLM_CredentialsTable" (credential_id text primary key, credential_values jsonb);
  insert into "LiteLLM_CredentialsTable" values ('one', '{"api_key": "sealed"}');
`;

describe.skipIf(major < 15)('packaging/database-role.sql', () => {
  let postgres: Postgres;
  const password = randomBytes(24).toString('base64url');

  beforeAll(async () => {
    postgres = await startPostgres({ settings: { log_statement: 'all', log_min_error_statement: 'error' } });
    await postgres.createUser('litellm');
    await withClient(postgres.adminUrl, async (admin) => {
      await admin.query('create database litellm owner litellm');
      await admin.query('revoke connect on database litellm, postgres from public');
    });
    await asProxy((proxy) => proxy.query(tables));
    await run();
  }, 120_000);
  afterAll(() => postgres.stop());

  const adminUrl = () => new URL(postgres.url('litellm'));
  const workerUrl = () => {
    const url = adminUrl();
    [url.username, url.password] = ['litellm_rotate', password];
    return url.href;
  };
  const asProxy = <T>(use: (client: pg.Client) => Promise<T>) =>
    withClient(postgres.url('litellm', 'litellm'), use);
  const asWorker = (sql: string) => withClient(workerUrl(), (client) => client.query(sql));

  const run = (...settings: string[]) => runAs(adminUrl(), password, ...settings);
  const runAs = (url: URL, secret: string, ...settings: string[]) =>
    runSqlFile(url, join(root, 'packaging/database-role.sql'), {
      flags: settings.flatMap((setting) => ['--set', setting]),
      env: { ROTATE_DATABASE_PASSWORD: secret },
    });

  test('makes a role that reads and replaces values', async () => {
    const { rows } = await asWorker('select * from "LiteLLM_CredentialsTable"');
    expect(rows).toHaveLength(1);
    const updated = await asWorker(
      `update "LiteLLM_CredentialsTable" set credential_values = credential_values where credential_id = 'one'`,
    );
    expect(updated.rowCount).toBe(1);
    await asWorker('begin; lock table "LiteLLM_CredentialsTable" in share row exclusive mode; commit');
  });

  test.for([
    ['delete rows', 'delete from "LiteLLM_CredentialsTable"'],
    ['insert rows', `insert into "LiteLLM_CredentialsTable" values ('two', '{}')`],
    ['empty a table', 'truncate "LiteLLM_CredentialsTable"'],
    ['drop a table', 'drop table "LiteLLM_CredentialsTable"'],
    ['alter a table', 'alter table "LiteLLM_CredentialsTable" add column x int'],
    // Before Postgres 15, everybody could (its release notes); there it is for the owner of the schema to revoke.
    ...(server < 15
      ? []
      : ([['make a table among those of LiteLLM', 'create table public.mine (x int)']] as const)),
    ['make a role', 'create role another'],
    ['make a database', 'create database another'],
    ['become the role of LiteLLM', 'set role litellm'],
    [
      'end a session of another role',
      `select pg_terminate_backend(pid) from pg_stat_activity where usename = 'litellm'`,
    ],
    ['read a file of the server', `select pg_read_file('/etc/passwd')`],
  ] as const)('makes a role that may not %s', async ([, sql]) => {
    await asProxy(async () => {
      await expect(asWorker(sql)).rejects.toThrow(/permission denied|must be (a )?(owner|superuser|member)/);
    });
  });

  test('makes a role that may not connect to another database', async () => {
    const url = new URL(workerUrl());
    url.pathname = '/postgres';
    await expect(withClient(url.href, () => Promise.resolve())).rejects.toThrow(
      'permission denied for database',
    );
  });

  test('covers the tables that a later migration of LiteLLM makes', async () => {
    await asProxy((proxy) =>
      proxy.query('create table "LiteLLM_NextTable" (id text primary key, secret text)'),
    );
    expect((await asWorker('update "LiteLLM_NextTable" set secret = null')).rowCount).toBe(0);
    await expect(asWorker('delete from "LiteLLM_NextTable"')).rejects.toThrow('permission denied');
  });

  test("is enough for the rotation's own look at the database, its journal, and its proof that LiteLLM is gone", async () => {
    const database = createRotationDatabase({
      connectionString: new Secret(workerUrl()),
      proxyRole: 'litellm',
    });
    try {
      expect(await database.inspect()).toEqual([]);
      await database.prepareJournal();
      await asProxy(async () => {
        expect((await database.proxySessions()).map(({ role }) => role)).toEqual(['litellm']);
      });
      await expect.poll(() => database.proxySessions()).toEqual([]);
    } finally {
      await database.close();
    }
  });

  test.skipIf(noDump !== undefined || server < 14)(
    'leaves the dumps of others as the runbook says: all of it by who may read it, else without the journal',
    async () => {
      const database = createRotationDatabase({ connectionString: new Secret(workerUrl()) });
      await database.prepareJournal();
      await database.close();
      await postgres.createUser('dumper');
      await withClient(postgres.url('litellm'), (admin) =>
        admin.query('grant pg_read_all_data to dumper; grant connect on database litellm to dumper'),
      );
      const dump = async (role: string, ...flags: string[]): Promise<string> =>
        (await execa('pg_dump', [...flags, `--dbname=${postgres.url('litellm', role)}`])).stdout;
      await expect(dump('litellm')).rejects.toThrow('permission denied for');
      const own = await dump('litellm', '--exclude-schema=litellm_rotate');
      expect(own).toContain('COPY public."LiteLLM_CredentialsTable"');
      expect(own).not.toContain('litellm_rotate.');
      expect(await dump('dumper')).toContain('COPY litellm_rotate.');
    },
  );

  test('adds what is missing when it runs again, and sets the password', async () => {
    await withClient(postgres.url('litellm'), async (admin) => {
      await admin.query('revoke update on "LiteLLM_CredentialsTable" from litellm_rotate');
      await admin.query(`alter role litellm_rotate password 'another'`);
    });
    await run();
    expect(
      (await asWorker('update "LiteLLM_CredentialsTable" set credential_values = credential_values'))
        .rowCount,
    ).toBe(1);
  });

  test('can be run by the owner of the tables, given what the file says', async () => {
    await withClient(postgres.adminUrl, async (admin) => {
      await admin.query('alter role litellm createrole');
      if (server >= 16) await admin.query('grant pg_read_all_stats to litellm with admin option');
    });
    // Who is no superuser cannot keep a password out of the log: it is another one.
    const logged = randomBytes(24).toString('base64url');
    await runAs(new URL(postgres.url('litellm', 'litellm')), logged, 'role=by_owner');
    const { rows } = await withClient(postgres.url('litellm'), (admin) =>
      admin.query(
        `select has_table_privilege('by_owner', '"LiteLLM_CredentialsTable"', 'UPDATE') as writes, pg_has_role('by_owner', 'pg_read_all_stats', 'USAGE') as sees`,
      ),
    );
    expect(rows).toEqual([{ writes: true, sees: true }]);
  });

  test("changes nothing but the role when the owner of LiteLLM's tables is not there", async () => {
    const { exitCode, all } = await run('role=other_rotate', 'owner=nobody_of_that_name').catch(
      (error: { exitCode: number; all: string }) => error,
    );
    expect(exitCode).toBe(3);
    expect(all).toContain('role "nobody_of_that_name" does not exist');
    const { rows } = await withClient(postgres.url('litellm'), (admin) =>
      admin.query(
        `select has_table_privilege('other_rotate', '"LiteLLM_CredentialsTable"', 'SELECT') as reads`,
      ),
    );
    expect(rows).toEqual([{ reads: false }]);
  });

  test("leaves the password neither on the screen nor in the server's log, which is told to hold every statement", async () => {
    const { all } = await run();
    expect(all).not.toContain(password);
    const log = await readFile(postgres.log, 'utf8');
    expect(log).toContain('create role litellm_rotate login');
    expect(log).not.toContain(password);
  });

  test('has a counterpart for compose that makes all roles and databases, each with its own owner', async () => {
    const other = await startPostgres({ settings: { log_statement: 'all' } });
    try {
      const { hostname, port, password: adminPassword } = new URL(other.adminUrl);
      const passwords = {
        LITELLM_DATABASE_PASSWORD: randomBytes(9).toString('hex'),
        TEMPORAL_DATABASE_PASSWORD: randomBytes(9).toString('hex'),
        ROTATE_DATABASE_PASSWORD: randomBytes(9).toString('hex'),
      };
      const env = {
        PATH: process.env['PATH'] ?? '',
        PGHOST: hostname,
        PGPORT: port,
        PGPASSWORD: adminPassword,
        POSTGRES_USER: 'postgres',
        ...passwords,
      };
      // In the container, the file is mounted there.
      const script = await readFile(join(root, 'packaging/compose/init-databases.sh'), 'utf8');
      const here = script.replace('/packaging/database-role.sql', join(root, 'packaging/database-role.sql'));
      expect(here).not.toBe(script);
      await execa('sh', { input: here, env, extendEnv: false });
      const login = (user: string, secret: string, database: string) => {
        const url = new URL(other.adminUrl);
        [url.username, url.password, url.pathname] = [user, secret, `/${database}`];
        return withClient(url.href, (client) => client.query('create schema mine'));
      };
      await login('litellm', passwords.LITELLM_DATABASE_PASSWORD, 'litellm');
      await login('temporal', passwords.TEMPORAL_DATABASE_PASSWORD, 'temporal');
      await login('temporal', passwords.TEMPORAL_DATABASE_PASSWORD, 'temporal_visibility');
      const denied = 'permission denied for database';
      await expect(login('temporal', passwords.TEMPORAL_DATABASE_PASSWORD, 'litellm')).rejects.toThrow(
        denied,
      );
      await expect(login('litellm', passwords.LITELLM_DATABASE_PASSWORD, 'temporal')).rejects.toThrow(denied);
      await expect(login('litellm_rotate', passwords.ROTATE_DATABASE_PASSWORD, 'temporal')).rejects.toThrow(
        denied,
      );
      const log = await readFile(other.log, 'utf8');
      for (const secret of Object.values(passwords)) expect(log).not.toContain(secret);
    } finally {
      await other.stop();
    }
  });
});
