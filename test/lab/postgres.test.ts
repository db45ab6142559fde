import { execa } from 'execa';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Postgres, startPostgres, withClient } from '../../lab/postgres.ts';

let postgres: Postgres;
beforeAll(async () => void (postgres = await startPostgres()), 60_000);
afterAll(() => postgres.stop());

const one = (url: string, sql: string): Promise<unknown> =>
  withClient(
    url,
    async (client) => Object.values((await client.query<Record<string, unknown>>(sql)).rows[0] ?? {})[0],
  );

test('keeps committed rows through a crash and a restart', async () => {
  await postgres.createDatabase('kept');
  await withClient(postgres.url('kept'), (client) => client.query('create table t as select 42 as x'));
  await postgres.restart('immediate');
  expect(await one(postgres.url('kept'), 'select x from t')).toBe(42);
});

test('copies a database from a template', async () => {
  await postgres.createDatabase('original');
  await withClient(postgres.url('original'), (client) => client.query('create table t as select 7 as x'));
  await postgres.createDatabase('copy', 'original');
  expect(await one(postgres.url('copy'), 'select x from t')).toBe(7);
});

test('lets in a role of its own, and nobody without the password', async () => {
  await postgres.createUser('app');
  expect(await one(postgres.url('postgres', 'app'), 'select current_user')).toBe('app');
  const url = `postgresql://app@127.0.0.1:${postgres.port}/postgres`;
  await expect(one(url, 'select 1')).rejects.toThrow(/password/);
});

test('ends with the process that started it, even when that is killed', async () => {
  const module = new URL('../../lab/postgres.ts', import.meta.url).href;
  const script = `
    const { startPostgres } = await import(process.argv[1]);
    const { port, dataDirectory } = await startPostgres();
    console.log(JSON.stringify({ port, dataDirectory }));
    setInterval(() => undefined, 1000);
  `;
  const parent = execa(process.execPath, ['--input-type=module', '-e', script, module], { reject: false });
  const started = await new Promise<string>((resolve) =>
    parent.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())),
  );
  const { port, dataDirectory } = JSON.parse(started) as { port: number; dataDirectory: string };
  parent.kill('SIGKILL');
  await parent;
  await expect.poll(() => existsSync(`${dataDirectory}/postmaster.pid`), { timeout: 10_000 }).toBe(false);
  await expect(one(`postgresql://postgres@127.0.0.1:${port}/postgres`, 'select 1')).rejects.toThrow(
    'ECONNREFUSED',
  );
  await rm(dirname(dataDirectory), { recursive: true });
}, 60_000);
