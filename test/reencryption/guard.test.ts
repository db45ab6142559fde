import { execa } from 'execa';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { canRunSystemd, startSystemdBox } from '../../lab/systemd-box.ts';
import { cliPath } from '../../lab/worker.ts';
import type { NamedKey } from '../../src/rotation/keys.ts';
import { begin, masterKey, never, pending, previous, silent, transition } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();
beforeAll(async () => {
  await lab.server.createUser('proxy');
});

/** `litellm-rotate guard` with the environment that LiteLLM would get, as LiteLLM's own role. */
async function guard(environment: Record<string, string | undefined>, ...command: string[]) {
  const url = new URL(lab.url);
  url.username = 'proxy';
  const { exitCode, stdout, stderr } = await execa(process.execPath, [cliPath, 'guard', ...command], {
    env: { DATABASE_URL: url.href, PATH: process.env['PATH'], ...environment },
    extendEnv: false,
    reject: false,
  });
  return { exitCode, stdout, stderr };
}

/** A database whose values were swapped from the previous to the pending key. */
async function swapped() {
  const database = lab.rotationDatabase({ proxyRole: 'proxy' });
  const fence = await begin(database);
  await database.stage(transition, fence, silent, never);
  await database.swap(transition, masterKey, fence, silent);
  return { database, fence };
}

const salt = (key: NamedKey) => ({ LITELLM_MASTER_KEY: 'sk-master', LITELLM_SALT_KEY: key.key.reveal() });

describe('the guard', () => {
  test('lets LiteLLM start while nothing was ever rotated, as there is nothing to hold the key against', async () => {
    expect(await guard(salt(previous))).toMatchObject({ exitCode: 0 });
  });

  test('lets LiteLLM start when a plan has made the journal, and nothing was ever rotated', async () => {
    await begin(lab.rotationDatabase({ proxyRole: 'proxy' }));
    expect(await guard(salt(previous))).toMatchObject({ exitCode: 0 });
  });

  test('lets LiteLLM start after a rotation that was taken back by hand, which leaves nothing to hold the key against', async () => {
    await swapped();
    await lab.client.query('delete from litellm_rotate.guard');
    const { exitCode, stderr } = await guard(salt(previous));
    expect(exitCode).toBe(0);
    expect(stderr).toContain('one was taken back by hand');
  });

  test('lets LiteLLM start after its journal was dropped, as for a dump of before, and the next plan makes one', async () => {
    const { database } = await swapped();
    expect((await guard(salt(previous))).exitCode).toBe(1);
    await lab.client.query('drop schema litellm_rotate cascade');
    expect((await guard(salt(previous))).exitCode).toBe(0);
    await begin(database, 'r-2');
    expect((await guard(salt(previous))).exitCode).toBe(0);
  });

  test("names the role that is not taken for LiteLLM's, and how it is, as its key is held against nothing", async () => {
    await begin(lab.rotationDatabase());
    const { exitCode, stderr } = await guard(salt(previous));
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/found that role proxy may not read .*set database\.proxyRole to proxy/);
    await lab.rotationDatabase({ proxyRole: 'proxy' }).prepareJournal();
    expect(await guard(salt(previous))).toMatchObject({ exitCode: 0 });
  });

  test('after the swap it refuses the previous key, and after the restore the pending one', async () => {
    const { database, fence } = await swapped();

    const refused = await guard(salt(previous));
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toMatch(/LITELLM_SALT_KEY: found a key that does not open the database/);
    expect(refused.stderr).not.toContain(previous.key.reveal());
    expect(await guard(salt(pending))).toMatchObject({ exitCode: 0 });

    await database.restore(transition, masterKey, fence, silent);
    expect(await guard(salt(pending))).toMatchObject({ exitCode: 1 });
    expect(await guard(salt(previous))).toMatchObject({ exitCode: 0 });
  });

  test('an empty salt key counts as set, as it does for LiteLLM', async () => {
    await swapped();
    const asMaster = { LITELLM_MASTER_KEY: pending.key.reveal() };
    expect(await guard(asMaster)).toMatchObject({ exitCode: 0 });
    expect(await guard({ ...asMaster, LITELLM_SALT_KEY: '' })).toMatchObject({ exitCode: 1 });
  });

  test('becomes the command that stands behind it, with its exit code', async () => {
    const ran = await guard(salt(previous), 'sh', '-c', 'echo "$LITELLM_MASTER_KEY"; exit 7');
    expect(ran).toMatchObject({ exitCode: 7, stdout: 'sk-master' });
  });

  describe('where LiteLLM is given no DATABASE_URL', () => {
    const parts = () => {
      const { host, password, pathname } = new URL(lab.url);
      return {
        DATABASE_URL: undefined,
        DATABASE_HOST: host,
        DATABASE_USERNAME: 'proxy',
        DATABASE_PASSWORD: password,
        DATABASE_NAME: pathname.slice(1),
      };
    };

    test('makes one of the same variables as LiteLLM', async () => {
      await swapped();
      expect(await guard({ ...salt(pending), ...parts() })).toMatchObject({ exitCode: 0 });
      expect(await guard({ ...salt(previous), ...parts() })).toMatchObject({ exitCode: 1 });
      expect(await guard({ ...salt(pending), ...parts(), DATABASE_SSLMODE: 'require' })).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining('it offers none') as string,
      });
    });

    test.for(['DATABASE_HOST', 'DATABASE_USERNAME', 'DATABASE_PASSWORD', 'DATABASE_NAME'])(
      'refuses when %s is not given either, and says where to write one',
      async (name) => {
        const { exitCode, stderr } = await guard({ ...salt(previous), ...parts(), [name]: undefined });
        expect(exitCode).toBe(2);
        expect(stderr).toMatch(
          /found no DATABASE_URL in the environment, .*EnvironmentFile=.*--database-url/,
        );
      },
    );

    test('takes it from the variable that is named for it', async () => {
      await swapped();
      const url = new URL(lab.url);
      url.username = 'proxy';
      const environment = { DATABASE_URL: undefined, FOR_THE_GUARD: url.href };
      const named = ['--database-url', 'FOR_THE_GUARD'];
      expect(await guard({ ...salt(pending), ...environment }, ...named)).toMatchObject({ exitCode: 0 });
      expect(await guard({ ...salt(previous), ...environment }, ...named)).toMatchObject({ exitCode: 1 });
    });
  });

  test('refuses when the database cannot be asked, without its password', async () => {
    const { exitCode, stderr } = await guard({
      ...salt(previous),
      DATABASE_URL: 'postgresql://u:hunter2@127.0.0.1:1/x',
    });
    expect(exitCode).toBe(1);
    expect(stderr).toContain('found no Postgres that answers (ECONNREFUSED)');
    expect(stderr).not.toContain('hunter2');
  });
});

const why = canRunSystemd();
if (why !== undefined) console.log(`the guard in a real unit is not tested: ${why}`);

describe.skipIf(why !== undefined)('ExecStartPre=litellm-rotate guard', () => {
  test('a host that reboots in the middle of a cutover does not start LiteLLM with the key of the other side', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'guard-'));
    const keyFile = join(directory, 'keys.env');
    const writeKeys = (key: NamedKey) =>
      writeFile(
        keyFile,
        `DATABASE_URL=${lab.url}\nLITELLM_MASTER_KEY=sk-m\nLITELLM_SALT_KEY=${key.key.reveal()}\n`,
        {
          mode: 0o600,
        },
      );
    await writeKeys(previous);
    const box = await startSystemdBox({
      units: {
        'litellm.service': `[Service]
Type=exec
EnvironmentFile=${keyFile}
ExecStartPre=${process.execPath} ${cliPath} guard
ExecStart=/bin/sleep infinity
`,
      },
    });
    const boot = async () => {
      await box.run('systemctl', ['start', 'litellm.service']);
      return (await box.run('systemctl', ['is-active', 'litellm.service'])).stdout;
    };
    try {
      expect(await boot()).toBe('active');
      await box.run('systemctl', ['stop', 'litellm.service']);
      // The swap is committed, the files are not written yet.
      await swapped();
      expect(await boot()).toBe('failed');
      const { stdout } = await box.run('journalctl', ['-u', 'litellm.service', '-o', 'cat']);
      expect(stdout).toContain('LITELLM_SALT_KEY: found a key that does not open the database');
      expect(stdout).not.toContain(previous.key.reveal());
      await writeKeys(pending);
      expect(await boot()).toBe('active');
    } finally {
      await box.stop();
      await rm(directory, { recursive: true });
    }
  });
});
