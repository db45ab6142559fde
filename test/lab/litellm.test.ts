import { execa } from 'execa';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../../lab/child.ts';
import { openWithLiteLLM, sealWithLiteLLM } from '../../lab/litellm/ciphers.ts';
import { createLiteLLMDatabase } from '../../lab/litellm/database.ts';
import { ensureLiteLLM } from '../../lab/litellm/install.ts';
import { oracleRotate } from '../../lab/litellm/oracle.ts';
import { type Provider, startProvider } from '../../lab/litellm/provider.ts';
import { isReady, startLiteLLM } from '../../lab/litellm/proxy.ts';
import { type Seeded, sealLegacy, seedLiteLLM } from '../../lab/litellm/seed.ts';
import { type LiteLLMService, describeLiteLLMService } from '../../lab/litellm/service.ts';
import { type Postgres, startPostgres, withClient } from '../../lab/postgres.ts';

const keys = { masterKey: 'sk-master-of-a-test', saltKey: 'sk-salt-of-a-test' };
let directory: string;
let postgres: Postgres;
let provider: Provider;
let service: LiteLLMService;
let databaseUrl: string;
let seeded: Seeded;

const drive = async (
  verb: 'start' | 'stop' | 'status',
): Promise<{ exitCode: number | undefined; stdout: string }> => {
  const [script = '', ...args] = service.command(verb);
  const { exitCode, stdout } = await execa(script, args, { reject: false });
  return { exitCode, stdout };
};

/** Every row of every table, as text. */
const everything = (url: string): Promise<string> =>
  withClient(url, async (client) => {
    const tables = await client.query<{ id: string }>(
      "select quote_ident(tablename) as id from pg_tables where schemaname = 'public'",
    );
    const texts: string[] = [];
    for (const { id } of tables.rows) {
      const { rows } = await client.query<{ row: string }>(`select t::text as row from ${id} t`);
      texts.push(...rows.map(({ row }) => row));
    }
    return texts.join('\n');
  });

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'litellm-test-'));
  [postgres, provider] = await Promise.all([startPostgres(), startProvider()]);
  databaseUrl = await createLiteLLMDatabase(postgres, 'litellm');
  const home = join(directory, '.007');
  const beside = join(directory, 'env.litellm');
  await writeFile(
    home,
    `export LITELLM_MASTER_KEY="${keys.masterKey}"\nexport LITELLM_SALT_KEY="${keys.saltKey}"\n`,
    { mode: 0o600 },
  );
  await writeFile(beside, `DATABASE_URL=${databaseUrl}\nLITELLM_SALT_KEY=${keys.saltKey}\n`, { mode: 0o600 });
  service = await describeLiteLLMService({ directory, envFiles: [home, beside], port: await freePort() });
}, 300_000);

afterAll(async () => {
  await drive('stop');
  await Promise.all([postgres.stop(), provider.stop()]);
  await rm(directory, { recursive: true });
}, 60_000);

test('the service is stopped before it is started', async () => {
  expect(await drive('status')).toMatchObject({ exitCode: 3, stdout: 'stopped' });
  expect(await drive('stop')).toMatchObject({ exitCode: 0 });
});

test(
  'the service starts LiteLLM with what its env files and its install give, and no key in a command line',
  { timeout: 180_000 },
  async () => {
    expect(await drive('start')).toMatchObject({ exitCode: 0 });
    const { stdout } = await drive('status');
    const pid = /^running (\d+)$/.exec(stdout)?.[1] ?? 'none';
    expect((await drive('start')).stdout).toBe(`running ${pid}`);
    await expect
      .poll(() => isReady(service.url).catch(() => false), { timeout: 150_000, interval: 200 })
      .toBe(true);
    const environment = (await readFile(`/proc/${pid}/environ`, 'utf8')).split('\0').filter(Boolean);
    expect(environment).toContain(`LITELLM_MASTER_KEY=${keys.masterKey}`);
    const { env } = await ensureLiteLLM();
    const expected = [...Object.keys(env), 'HOME', 'DATABASE_URL', 'LITELLM_MASTER_KEY', 'LITELLM_SALT_KEY'];
    expect(new Set(environment.map((entry) => entry.split('=')[0]))).toEqual(new Set(expected));
    expect((await execa('ps', ['-eo', 'args', '-ww'])).stdout).not.toContain(keys.masterKey);
  },
);

test('a seeded database holds no secret in clear that LiteLLM seals', { timeout: 60_000 }, async () => {
  const { url } = service;
  seeded = await seedLiteLLM({
    url,
    databaseUrl,
    masterKey: keys.masterKey,
    signingKey: keys.saltKey,
    providerUrl: provider.url,
  });
  expect(seeded.requests.every(({ status }) => status < 300)).toBe(true);
  const stored = await everything(databaseUrl);
  expect(Object.values(seeded.plaintexts).filter((text) => stored.includes(text))).toEqual([]);
  expect(stored).toContain(seeded.clear['pass-through']); // or this would find nothing anywhere
});

test.for(['m-provider', 'm-provider-by-cred'] as const)(
  'a call through %s sends the provider the stored key',
  async (model) => {
    const answer = await fetch(`${service.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${seeded.virtualKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }] }),
    });
    expect(answer.status).toBe(200);
    expect(provider.keys.at(-1)).toBe(
      model === 'm-provider' ? seeded.providerKeys.direct : seeded.providerKeys.byCredential,
    );
  },
);

test(
  'the service stops with all its processes, and no session is left in the database',
  { timeout: 60_000 },
  async () => {
    expect(await drive('stop')).toMatchObject({ exitCode: 0 });
    expect(await drive('status')).toMatchObject({ exitCode: 3, stdout: 'stopped' });
    const sessions = "select count(*)::int as n from pg_stat_activity where datname = 'litellm'";
    await expect
      .poll(() =>
        withClient(
          postgres.adminUrl,
          async (client) => (await client.query<{ n: number }>(sessions)).rows[0]?.n,
        ),
      )
      .toBe(0);
  },
);

test("LiteLLM's own migration re-encrypts the values to another key", { timeout: 180_000 }, async () => {
  await postgres.createDatabase('oracle', 'litellm');
  const copy = postgres.url('oracle');
  const summary = await oracleRotate({
    databaseUrl: copy,
    from: keys.saltKey,
    to: 'sk-another-key-of-a-test',
  });
  expect(summary.at(-1)).toMatch(/Done re-encrypting \d+ stored value/);
  const sql = `select litellm_params->>'api_key' as sealed from "LiteLLM_ProxyModelTable" where model_name = 'm-provider'`;
  const sealed = await withClient(
    copy,
    async (client) => (await client.query<{ sealed: string }>(sql)).rows[0]?.sealed ?? '',
  );
  expect(await openWithLiteLLM([sealed], 'sk-another-key-of-a-test')).toEqual([seeded.providerKeys.direct]);
  expect(await openWithLiteLLM([sealed], keys.saltKey)).toEqual([undefined]);
});

test.for(['legacy', 'v2'] as const)(
  "LiteLLM's ciphers open what they seal, in the %s format",
  { timeout: 60_000 },
  async (format) => {
    const texts = ['', 'ascii', 'ünïcode ☃', 'x'.repeat(5000)];
    const sealed = await sealWithLiteLLM(texts, 'key', format);
    expect(await openWithLiteLLM([...sealed, 'not sealed'], 'key')).toEqual([...texts, undefined]);
    expect(await openWithLiteLLM(sealed, createHash('sha256').update('key').digest('hex'))).toEqual(
      texts.map(() => undefined),
    );
  },
);

test("what the seed seals by itself opens with LiteLLM's code", async () => {
  expect(await openWithLiteLLM([await sealLegacy('text', 'key')], 'key')).toEqual(['text']);
});

test('a proxy that refuses to start is reported with the end of its log', { timeout: 120_000 }, async () => {
  await expect(startLiteLLM({ databaseUrl, masterKey: 'sk-1234' })).rejects.toThrow(
    /litellm ended at start \(exit 3\)[\s\S]+master/i,
  );
});
