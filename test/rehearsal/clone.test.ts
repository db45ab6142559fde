import { execa } from 'execa';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, escapeIdentifier } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../lab/child.ts';
import { withClient } from '../../lab/postgres.ts';
import type { RotationError } from '../../src/rotation/failure.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { begin, dump, failure, never, startTestServer, type TestDatabase } from '../reencryption/database.ts';
import { cannotDump } from './dump-programs.ts';
import { fenceOf, rehearsalOf } from './rehearsal-of.ts';

const why = await cannotDump();
if (why !== undefined) console.log(`no clone is made by dump: ${why}`);
const byDump = test.skipIf(why !== undefined);

let server: Awaited<ReturnType<typeof startTestServer>>;
let directory: string;
beforeAll(async () => {
  server = await startTestServer();
  directory = await mkdtemp(join(tmpdir(), 'litellm-rotate-rehearsal-'));
});
afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

const clones = () =>
  withClient(server.server.adminUrl, async (client) => {
    const { rows } = await client.query<{ datname: string }>(
      `select datname from pg_database where datname like 'litellm_rotate_rehearsal_%' order by 1`,
    );
    return rows.map(({ datname }) => datname);
  });
const keys = {
  master: new Secret('sk-new-master-of-this-test'),
  salt: new Secret('sk-new-salt-of-this-test'),
};

interface Source extends Pick<TestDatabase, 'url' | 'client'> {
  readonly name: string;
  readonly workerUrl: string;
  readonly close: () => Promise<void>;
}

/** A database with the journal of a rotation in it, and a role of the worker's kind. */
async function source(): Promise<Source> {
  const made = await server.create();
  await begin(made.rotationDatabase());
  const name = new URL(made.url).pathname.slice(1);
  await server.server.createUser(`w_${name}`);
  await withClient(server.server.adminUrl, (client) => client.query(`alter role w_${name} createdb`));
  await made.client.query(`grant select, update on all tables in schema public to w_${name}`);
  const { url, client } = made;
  return {
    url,
    client,
    name,
    workerUrl: server.server.url(name, `w_${name}`),
    close: () => made.close(),
  };
}

async function onClone<T>(rotation: string, use: (client: Client) => Promise<T>): Promise<T> {
  return withClient(server.server.url(`litellm_rotate_rehearsal_${rotation}`), use);
}
const hasJournal = async (client: Client) =>
  (await client.query(`select 1 from pg_namespace where nspname = 'litellm_rotate'`)).rowCount;

describe('the clone', () => {
  test('is a template copy while nobody but us is connected, without our journal', async () => {
    const { client, name, close } = await source();
    const before = await dump(client);
    await close();
    const rehearsal = rehearsalOf(server.server.url(name));
    expect(await rehearsal.clone(fenceOf('r1'), never)).toBe('template');
    expect(await onClone('r1', (clone) => dump(clone))).toEqual(before);
    expect(await onClone('r1', hasJournal)).toBe(0);
    expect(await rehearsal.destroy('r1')).toEqual({ destroyed: true });
    await rehearsal.close();
  });

  byDump(
    'is a dump while somebody is connected, by a role that may read and update and no more, without the rows of request logs',
    async () => {
      const { client, workerUrl, close } = await source();
      const before = await dump(client, ['LiteLLM_SpendLogs']);
      const rehearsal = rehearsalOf(workerUrl);
      expect(await rehearsal.clone(fenceOf('r2'), never)).toBe('dump');
      expect(await onClone('r2', (clone) => dump(clone))).toEqual({ ...before, LiteLLM_SpendLogs: [] });
      expect(await onClone('r2', hasJournal)).toBe(0);
      // LiteLLM writes on it as the same role.
      await withClient(workerUrl.replace(/[^/]+$/, 'litellm_rotate_rehearsal_r2'), (clone) =>
        clone.query(`insert into "LiteLLM_Config" values ('more', '{}')`),
      );
      expect(await dump(client, ['LiteLLM_SpendLogs'])).toEqual(before);
      await rehearsal.destroy('r2');
      await rehearsal.close();
      await close();
    },
  );

  test('is refused as a template while somebody is connected, if it must be one', async () => {
    const { url, close } = await source();
    const rehearsal = rehearsalOf(url, { clone: 'template' });
    expect(await failure(rehearsal.clone(fenceOf('r3'), never))).toMatchObject({ type: 'Refused' });
    expect(await clones()).toEqual([]);
    await rehearsal.close();
    await close();
  });

  test('is refused as a template to a role that does not own the source, if it must be one', async () => {
    const { workerUrl, close } = await source();
    await close();
    const rehearsal = rehearsalOf(workerUrl, { clone: 'template' });
    const error = await failure(rehearsal.clone(fenceOf('r12'), never));
    expect(error).toMatchObject({ type: 'Refused' });
    expect(error.message).toMatch(
      /found that role w_test_\d+ may not copy it as a template; expected its owner, .* set rehearsal\.clone to dump/,
    );
    expect(await clones()).toEqual([]);
    await rehearsal.close();
  });

  byDump(
    'is made anew where an attempt has left half of one, and dropped under the sessions of others',
    async () => {
      const { workerUrl, close } = await source();
      await server.server.createDatabase('litellm_rotate_rehearsal_r4');
      await withClient(server.server.adminUrl, (client) =>
        client.query(
          `alter database litellm_rotate_rehearsal_r4 owner to ${escapeIdentifier(new URL(workerUrl).username)}`,
        ),
      );
      const rehearsal = rehearsalOf(workerUrl);
      await rehearsal.clone(fenceOf('r4'), never);
      await server.server.createDatabase('litellm_rotate_rehearsal_other');
      expect(
        await onClone('r4', async (client) => {
          const { rows } = await client.query<{ may: boolean }>(
            `select has_database_privilege('w_test_1', current_database(), 'CONNECT') as may`,
          );
          return rows[0]?.may;
        }),
      ).toBe(false);
      const session = new Client({
        connectionString: workerUrl.replace(/[^/]+$/, 'litellm_rotate_rehearsal_r4'),
      });
      session.on('error', () => undefined);
      await session.connect();
      const monitor = new Client({ connectionString: server.server.url('litellm_rotate_rehearsal_r4') });
      monitor.on('error', () => undefined);
      await monitor.connect();
      expect(await rehearsal.sessions('r4')).toBe(1);
      expect(await rehearsal.exists('r4')).toBe(true);
      // A superuser's session is not for a role of this kind to end.
      expect(await failure(rehearsal.destroy('r4'))).toMatchObject({ type: 'DatabaseFailed' });
      await monitor.end();
      expect(await rehearsal.destroy('r4')).toEqual({ destroyed: true });
      expect(await rehearsal.destroy('r4')).toEqual({ destroyed: false });
      expect(await rehearsal.exists('r4')).toBe(false);
      expect(await clones()).toEqual(['litellm_rotate_rehearsal_other']);
      await withClient(server.server.adminUrl, (client) =>
        client.query('drop database litellm_rotate_rehearsal_other'),
      );
      await session.end().catch(() => undefined);
      await rehearsal.close();
      await close();
    },
  );

  test('is dropped by an attempt that was overtaken while it created it', async () => {
    const { workerUrl, close } = await source();
    const rehearsal = rehearsalOf(workerUrl);
    let asked = 0;
    const overtaken = fenceOf('r5', () =>
      (asked += 1) > 2 ? Promise.reject(new Error('overtaken')) : Promise.resolve(),
    );
    await expect(rehearsal.clone(overtaken, never)).rejects.toThrow('overtaken');
    expect(asked).toBe(3);
    expect(await clones()).toEqual([]);
    await rehearsal.close();
    await close();
  });

  test('may take as long as any statement of the target, and no longer', async () => {
    const { workerUrl, close } = await source();
    const holder = new Client({ connectionString: server.server.adminUrl });
    await holder.connect();
    await holder.query(`begin; comment on database template0 is 'held'`);
    const rehearsal = rehearsalOf(workerUrl, { clone: 'dump', statementTimeoutMs: 500 });
    const error = await failure(rehearsal.clone(fenceOf('r16'), never));
    expect(error).toMatchObject({ facts: { condition: 'query_canceled' } });
    await holder.end();
    await rehearsal.close();
    await close();
  });

  test('is given up at once, on the server too, when it is cancelled while it is created', async () => {
    const { workerUrl, close } = await source();
    const holder = new Client({ connectionString: server.server.adminUrl });
    await holder.connect();
    await holder.query(`begin; comment on database template0 is 'held'`);
    const rehearsal = rehearsalOf(workerUrl, { clone: 'dump' });
    const cancelled = new AbortController();
    const cloning = failure(rehearsal.clone(fenceOf('r17'), cancelled.signal));
    await expect.poll(() => rehearsal.exists('r17')).toBe(true);
    cancelled.abort();
    await expect.poll(() => rehearsal.exists('r17')).toBe(false);
    await cloning;
    await holder.end();
    expect(await clones()).toEqual([]);
    await rehearsal.close();
    await close();
  });

  test('is not left to a session whose worker was killed while it created it', async () => {
    const { workerUrl, close } = await source();
    // A template that is held makes the creation wait, as a large one makes it take its time.
    const holder = new Client({ connectionString: server.server.adminUrl });
    await holder.connect();
    await holder.query(`begin; comment on database template0 is 'held'`);
    const module = new URL('./rehearsal-of.ts', import.meta.url).href;
    const script = `const { fenceOf, rehearsalOf } = await import(${JSON.stringify(module)});
      await rehearsalOf(process.env.SOURCE, { clone: 'dump' }).clone(fenceOf('r13'), new AbortController().signal)`;
    const worker = execa(process.execPath, ['--input-type=module', '-e', script], {
      env: { SOURCE: workerUrl },
      reject: false,
    });
    const creating = () =>
      withClient(server.server.adminUrl, async (client) => {
        const { rowCount } = await client.query(
          `select 1 from pg_stat_activity where query like 'create database%_r13%' and state = 'active'`,
        );
        return rowCount;
      });
    await expect.poll(creating, { timeout: 20_000 }).toBe(1);
    worker.kill('SIGKILL');
    await worker;

    const rehearsal = rehearsalOf(workerUrl);
    const { destroyed } = await rehearsal.destroy('r13');
    await holder.query('rollback');
    await expect.poll(creating, { timeout: 20_000 }).toBe(0);
    expect(await clones()).toEqual([]);
    expect(destroyed).toBe(true);
    await holder.end();
    await rehearsal.close();
    await close();
  });

  byDump(
    'is given up at once when it is cancelled; no command line has held the password, and no program is left',
    async () => {
      const { client, workerUrl, name, close } = await source();
      const rehearsal = rehearsalOf(workerUrl);
      await client.query('create sequence held');
      await client.query(`grant select on sequence held to w_${name}`);
      await client.query('begin');
      await client.query('drop sequence held');
      const cancelled = new AbortController();
      const cloning = rehearsal.clone(fenceOf('r6'), cancelled.signal).then(
        () => undefined,
        (error: unknown) => error,
      );
      await expect.poll(() => programs('pg_dump'), { timeout: 10_000 }).not.toEqual([]);
      const seen = [...(await programs('pg_dump')), ...(await programs('pg_restore'))];
      expect(seen.join('\n')).not.toContain(new URL(workerUrl).password);
      cancelled.abort(new Error('cancelled'));
      expect(await cloning).toMatchObject({ message: 'cancelled' });
      await client.query('rollback');
      expect(await programs(`litellm_rotate_rehearsal_r6`)).toEqual([]);
      await rehearsal.destroy('r6');
      expect(await clones()).toEqual([]);
      await rehearsal.close();
      await close();
    },
  );

  byDump('is without the rows of a request log that is in partitions, as LiteLLM can have it', async () => {
    const { client, name, workerUrl, close } = await source();
    await client.query(`
      drop table "LiteLLM_SpendLogs";
      create table "LiteLLM_SpendLogs" (request_id text, at date, primary key (request_id, at)) partition by range (at);
      create table "LiteLLM_SpendLogs_p20260101" partition of "LiteLLM_SpendLogs" for values from ('2026-01-01') to ('2026-01-02');
      insert into "LiteLLM_SpendLogs" select i, '2026-01-01' from generate_series(1, 100) i`);
    await client.query(`grant select on all tables in schema public to w_${name}`);
    const rehearsal = rehearsalOf(workerUrl);
    expect(await rehearsal.clone(fenceOf('r14'), never)).toBe('dump');
    const rows = await onClone(
      'r14',
      async (clone) => (await clone.query('select 1 from "LiteLLM_SpendLogs"')).rowCount,
    );
    expect(rows).toBe(0);
    await rehearsal.destroy('r14');
    await rehearsal.close();
    await close();
  });

  byDump('is made by a role that may not use the tablespaces of the tables', async () => {
    const { client, workerUrl, close } = await source();
    await client.query('set allow_in_place_tablespaces = on');
    await client.query(`create tablespace fast location ''`);
    await client.query('alter table "LiteLLM_Config" set tablespace fast');
    const rehearsal = rehearsalOf(workerUrl);
    expect(await rehearsal.clone(fenceOf('r15'), never)).toBe('dump');
    await rehearsal.destroy('r15');
    await rehearsal.close();
    await close();
  });

  byDump('fails in words that hold no row when Postgres refuses the copy', async () => {
    const { client, workerUrl, close } = await source();
    await client.query('revoke select on "LiteLLM_Config" from public, current_user');
    await client.query(
      `revoke select on "LiteLLM_Config" from ${escapeIdentifier(new URL(workerUrl).username)}`,
    );
    const rehearsal = rehearsalOf(workerUrl);
    const error = await failure(rehearsal.clone(fenceOf('r7'), never));
    expect(error).toMatchObject({ type: 'DatabaseFailed' });
    expect(error.message).toMatch(/^pg_dump ended with 1: permission denied for table "?LiteLLM_Config/);
    expect(await clones()).toEqual([]);
    await rehearsal.destroy('r7');
    await rehearsal.close();
    await close();
  });

  byDump('loses the settings by which LiteLLM reaches out, and nothing else', async () => {
    const { client, workerUrl, close } = await source();
    await client.query(`insert into "LiteLLM_Config" values ('telemetry_settings', '{}')`);
    const rehearsal = rehearsalOf(workerUrl);
    await rehearsal.clone(fenceOf('r8'), never);
    const before = await onClone('r8', (clone) => dump(clone));
    await rehearsal.quieten('r8');
    await rehearsal.quieten('r8');
    const after = await onClone('r8', (clone) => dump(clone));
    expect(before['LiteLLM_Config']).toHaveLength(3);
    expect(after['LiteLLM_Config']).toEqual([
      expect.stringContaining('disable_model_info_refresh'),
      expect.stringContaining('in_a_string'),
    ]);
    expect({ ...after, LiteLLM_Config: [] }).toEqual({ ...before, LiteLLM_Config: [] });
    await rehearsal.destroy('r8');
    await rehearsal.close();
    await close();
  });
});

describe('the spare LiteLLM', () => {
  /** Writes down what it was given, starts a child that would outlive it, and stays. */
  async function program(): Promise<{ file: string; given: string }> {
    const given = join(directory, `given-${Math.random()}`);
    const file = `${given}.sh`;
    await writeFile(
      file,
      `#!/bin/bash\nenv -0 > ${given}.new; echo -n "$*" > ${given}.args; mv ${given}.new ${given}\necho started\nsetsid sleep 1000 &\nsleep 1000\n`,
    );
    await chmod(file, 0o755);
    return { file, given };
  }
  const environmentIn = async (given: string) => {
    const text = await readFile(given, 'utf8').catch(() => '');
    return Object.fromEntries(
      text
        .split('\0')
        .filter(Boolean)
        .map((entry) => entry.split(/=(.*)/s).slice(0, 2)),
    ) as Record<string, string>;
  };
  const alive = (rotation: string) =>
    processes(`LITELLM_ROTATE_REHEARSAL=litellm_rotate_rehearsal_${rotation}\0`);

  test('gets the new keys and the clone by its environment, the port by its arguments, and nothing of ours', async () => {
    const { workerUrl, close } = await source();
    const { file, given } = await program();
    const port = await freePort();
    const rehearsal = rehearsalOf(workerUrl, {
      start: [file, '--port', '{port}'],
      port,
      environment: { SOMETHING: 'else' },
    });
    const spare = await rehearsal.boot('r9', keys, never);
    await expect.poll(() => environmentIn(given)).toHaveProperty('PATH');
    const environment = await environmentIn(given);
    expect(environment).toMatchObject({
      LITELLM_MASTER_KEY: keys.master.reveal(),
      A_COPY: keys.master.reveal(),
      LITELLM_SALT_KEY: keys.salt.reveal(),
      DATABASE_URL: workerUrl.replace(/[^/]+$/, 'litellm_rotate_rehearsal_r9'),
      SOMETHING: 'else',
      LITELLM_TELEMETRY_DISABLED: 'true',
    });
    expect(environment).not.toHaveProperty('VITEST');
    expect(await readFile(`${given}.args`, 'utf8')).toBe(`--port ${port}`);
    await expect.poll(() => spare.lastLines()).toEqual(['started']);
    expect(await alive('r9')).not.toEqual([]);
    await spare.stop();
    expect(spare.ended()).toMatch(/^(was killed|exited)/);
    expect(await alive('r9')).toEqual([]);
    await rehearsal.close();
    await close();
  });

  test('of an attempt whose worker was killed is ended by the next boot, and by whoever destroys the clone', async () => {
    const { workerUrl, close } = await source();
    const { file } = await program();
    const port = await freePort();
    const options = { start: [file], port };
    const [killed, next] = [rehearsalOf(workerUrl, options), rehearsalOf(workerUrl, options)];
    await killed.boot('r10', keys, never);
    await expect.poll(async () => (await alive('r10')).length).toBeGreaterThan(1);
    const before = await alive('r10');
    await next.boot('r10', keys, never);
    await expect.poll(async () => (await alive('r10')).length).toBeGreaterThan(1);
    expect((await alive('r10')).filter((pid) => before.includes(pid))).toEqual([]);
    await next.destroy('r10');
    expect(await alive('r10')).toEqual([]);
    await Promise.all([killed.close(), next.close()]);
    await close();
  });

  test('is not started where something else would answer in its place', async () => {
    const { workerUrl, close } = await source();
    const port = await freePort();
    const other = createServer((socket) => socket.end());
    await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', resolve));
    const rehearsal = rehearsalOf(workerUrl, { port });
    const error: RotationError = await failure(rehearsal.boot('r11', keys, never));
    expect(error).toMatchObject({ type: 'Refused' });
    expect(error.message).toContain(`127.0.0.1:${port}: found something that listens there`);
    other.close();
    await rehearsal.close();
    await close();
  });
});

describe('before a rehearsal', () => {
  const codes = async (rehearsal: ReturnType<typeof rehearsalOf>) =>
    (await rehearsal.inspect()).map(({ severity, code }) => `${severity} ${code}`);

  byDump('nothing is found where all is in place', async () => {
    const { workerUrl, close } = await source();
    const rehearsal = rehearsalOf(workerUrl, { port: await freePort() });
    expect(await codes(rehearsal)).toEqual([]);
    await rehearsal.close();
    await close();
  });

  byDump('a missing right, program, or port is found, and blocks', async () => {
    const { client, workerUrl, close } = await source();
    const role = new URL(workerUrl).username;
    await withClient(server.server.adminUrl, (admin) => admin.query(`alter role ${role} nocreatedb`));
    await client.query('create sequence unreadable');
    const port = await freePort();
    const other = createServer((socket) => socket.end());
    await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', resolve));
    const rehearsal = rehearsalOf(workerUrl, { port, start: ['no-such-program'] });
    expect(await codes(rehearsal)).toEqual([
      'blocking rehearsal-no-createdb',
      'blocking rehearsal-unreadable-sequences',
      'blocking rehearsal-no-program',
      'blocking rehearsal-port-taken',
    ]);
    other.close();
    await rehearsal.close();
    await close();
  });
});

/** Command lines of running processes that hold a text. */
async function programs(text: string): Promise<string[]> {
  const lines = await Promise.all(
    (await pids()).map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return lines.map((line) => line.replaceAll('\0', ' ')).filter((line) => line.includes(text));
}

/** Pids of running processes that were started with an entry of their environment. */
async function processes(entry: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await pids()) {
    if ((await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')).includes(entry)) found.push(pid);
  }
  return found;
}

async function pids(): Promise<string[]> {
  return (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
}
