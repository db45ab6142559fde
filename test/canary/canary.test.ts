import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stopAll } from '../../lab/cleanup.ts';
import { createLiteLLMDatabase } from '../../lab/litellm/database.ts';
import { emptyConfig, type LiteLLM, startLiteLLM } from '../../lab/litellm/proxy.ts';
import { startPostgres, withClient } from '../../lab/postgres.ts';
import { callCanary, canaryName, installCanary, removeCanary } from '../../src/canary/canary.ts';
import { type EchoEndpoint, startEchoEndpoint } from '../../src/canary/echo-endpoint.ts';
import { createValueCipher } from '../../src/litellm/cipher.ts';
import { findDecryptionErrors } from '../../src/litellm/decryption-errors.ts';
import { generateKey } from '../../src/litellm/new-keys.ts';
import type { NewVirtualKey } from '../../src/litellm/proxy-port.ts';
import { createProxy } from '../../src/litellm/proxy.ts';
import type { SealedShape } from '../../src/litellm/sealed-value.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { never } from '../reencryption/database.ts';

const rotation = 'rotation-of-the-test';
const name = canaryName(rotation);
const [master, nextMaster, salt, seed] = [generateKey(), generateKey(), generateKey(), generateKey()];
const legacy: SealedShape = { format: 'legacy', marker: '', alphabet: 'urlsafe' };
const userKey: NewVirtualKey = { key: generateKey(), alias: 'of a user', models: [] };

let databaseUrl: string;
let directory: string;
let litellm: LiteLLM;
let endpoint: EchoEndpoint;
let before: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'litellm-rotate-canary-'));
  // It keeps answers, as many do.
  await writeFile(
    join(directory, 'config.yaml'),
    `${emptyConfig}litellm_settings:\n  cache: true\n  cache_params:\n    type: local\n`,
  );
  const postgres = await startPostgres();
  databaseUrl = await createLiteLLMDatabase(postgres, 'canary');
  await start({ masterKey: master, saltKey: salt });
  await proxy().addModel(master, {
    id: 'model-of-a-user',
    name: 'model-of-a-user',
    provider: 'openai/gpt-of-a-user',
    apiKey: generateKey(),
    apiBase: 'http://127.0.0.1:9/v1',
  });
  await proxy().generateKey(master, userKey);
  before = await rows();
  endpoint = await startEchoEndpoint({ host: '127.0.0.1', port: 0 });
});
afterAll(async () => {
  await endpoint.close();
  await stopAll();
  await rm(directory, { recursive: true });
});

async function start({ masterKey, saltKey }: { masterKey: Secret; saltKey: Secret }): Promise<void> {
  litellm = await startLiteLLM({
    databaseUrl,
    config: join(directory, 'config.yaml'),
    masterKey: masterKey.reveal(),
    saltKey: saltKey.reveal(),
    // How often it loads its models; 30 s when not said.
    extraEnv: { PROXY_CONFIG_RELOAD_INTERVAL_SECONDS: '5' },
  });
}

const proxy = () => createProxy({ url: litellm.url });
const canary = () => ({ proxy: proxy(), seed, rotation });

async function storeCredential(sealed: string): Promise<void> {
  await select(`update "LiteLLM_ProxyModelTable"
    set litellm_params = jsonb_set(litellm_params, '{api_key}', to_jsonb('${sealed}'::text)) where model_id = '${name}'`);
}

async function select<Row extends object>(text: string): Promise<Row[]> {
  return withClient(databaseUrl, async (client) => (await client.query<Row>(text)).rows);
}

async function decryptionErrors(): Promise<number> {
  return findDecryptionErrors((await readFile(litellm.log, 'utf8')).split('\n'));
}

/** Every model and every virtual key, to the byte. */
async function rows(): Promise<string> {
  const found = await select<{ row: string }>(`
    select 'model ' || m::text as row from "LiteLLM_ProxyModelTable" m
    union all select 'key ' || k::text from "LiteLLM_VerificationToken" k order by 1`);
  return found.map(({ row }) => row).join('\n');
}

test('shows that LiteLLM opens what it stored and sends it to the provider', async () => {
  await installCanary({ ...canary(), masterKey: master, endpointUrl: endpoint.url });
  await callCanary({ ...canary(), endpoint, signal: never });
});

test('reaches the provider each time, though LiteLLM has the answer in its cache', async () => {
  await callCanary({ ...canary(), endpoint, signal: never });
  await callCanary({ ...canary(), endpoint, signal: never });
});

test('is installed once, however often and by whomever', async () => {
  const installed = await rows();
  await installCanary({ ...canary(), masterKey: master, endpointUrl: endpoint.url });
  expect(await rows()).toBe(installed);
  expect(installed.match(/^model .*litellm-rotate-canary/gm)).toHaveLength(1);
  expect(installed.match(/^key .*litellm-rotate-canary/gm)).toHaveLength(1);
});

test('stores its provider secret sealed, and its virtual key as a digest', async () => {
  const [model] = await select<{ params: string }>(
    `select litellm_params::text as params from "LiteLLM_ProxyModelTable" where model_id = '${name}'`,
  );
  expect(model?.params).not.toContain('sk-');
  const [key] = await select<{ token: string; models: string[]; expires: Date | null }>(
    `select token, models, expires from "LiteLLM_VerificationToken" where key_alias = '${name}'`,
  );
  expect(key?.token).toMatch(/^[0-9a-f]{64}$/);
  expect(key?.models).toEqual([name]);
  expect(key?.expires).toBeInstanceOf(Date);
});

test('points at the endpoint of the attempt that is running, after one that died', async () => {
  await endpoint.close();
  endpoint = await startEchoEndpoint({ host: '127.0.0.1', port: 0 });
  await installCanary({ ...canary(), masterKey: master, endpointUrl: endpoint.url });
  await callCanary({ ...canary(), endpoint, signal: never });
});

test('takes away the model that an earlier rotation left behind, and nothing of a user', async () => {
  await proxy().addModel(master, {
    id: canaryName('an-earlier-rotation'),
    name: canaryName('an-earlier-rotation'),
    provider: 'openai/gone',
    apiKey: generateKey(),
    apiBase: 'http://127.0.0.1:9/v1',
  });
  await installCanary({ ...canary(), masterKey: master, endpointUrl: endpoint.url });
  expect(await proxy().models(master)).toEqual([name, 'model-of-a-user']);
});

test('does not pass on what an earlier call brought', async () => {
  const other = await startEchoEndpoint({ host: '127.0.0.1', port: 0 });
  await expect(
    callCanary({ ...canary(), endpoint: other, signal: never, timeoutMs: 0 }),
  ).rejects.toMatchObject({
    type: 'WrongKey',
    message: expect.stringContaining('got no call'),
  });
  await other.close();
});

test('fails when LiteLLM opens none of the stored values, though it says that it is ready', async () => {
  await litellm.stop();
  await start({ masterKey: master, saltKey: generateKey() });
  expect(await proxy().readiness()).toMatchObject({ ready: true });
  expect(await proxy().tryKey(master)).toBe('accepted');
  await expect(callCanary({ ...canary(), endpoint, signal: never, timeoutMs: 3_000 })).rejects.toMatchObject({
    type: 'WrongKey',
    message: expect.stringContaining('does not serve the stored model (400)'),
  });
  const cancelled = AbortSignal.timeout(100);
  // Well before the minute that a replica may take to load a model.
  await expect(callCanary({ ...canary(), endpoint, signal: cancelled })).rejects.toThrow('aborted');
  // It serves before it has loaded its models.
  await expect.poll(decryptionErrors, { timeout: 45_000 }).toBeGreaterThan(0);
});

test('works again under the salt key that sealed it, and a new master key', async () => {
  await litellm.stop();
  await start({ masterKey: nextMaster, saltKey: salt });
  await callCanary({ ...canary(), endpoint, signal: never });
  expect(await decryptionErrors()).toBe(0);
});

test('fails when LiteLLM does not open the credential alone, and sends its ciphertext to the provider', async () => {
  const [sealed] = await select<{ text: string }>(
    `select litellm_params->>'api_key' as text from "LiteLLM_ProxyModelTable" where model_id = '${name}'`,
  );
  const stray = createValueCipher(generateKey()).seal(Buffer.from('sk-x'), legacy);
  await litellm.stop();
  await storeCredential(stray);
  await start({ masterKey: nextMaster, saltKey: salt });
  await expect(callCanary({ ...canary(), endpoint, signal: never })).rejects.toMatchObject({
    type: 'WrongKey',
    message: expect.stringContaining('a call with another secret'),
  });
  expect(endpoint.received(name, new Secret(stray))).toBe('expected');
  await storeCredential(sealed?.text ?? '');
});

test('leaves models and virtual keys as they were when it is removed, under the new master key', async () => {
  await removeCanary({ ...canary(), masterKey: nextMaster });
  expect(await rows()).toBe(before);
  await expect(callCanary({ ...canary(), endpoint, signal: never, timeoutMs: 0 })).rejects.toMatchObject({
    type: 'WrongKey',
  });
  expect(await proxy().models(nextMaster)).toEqual(['model-of-a-user']);
});

test('is removed once; a second removal changes nothing', async () => {
  await removeCanary({ ...canary(), masterKey: nextMaster });
  expect(await rows()).toBe(before);
});

test('leaves a digest in the table of deleted keys, and no secret', async () => {
  const deleted = await select<{ row: string }>(
    `select d::text as row from "LiteLLM_DeletedVerificationToken" d`,
  );
  expect(deleted).toHaveLength(1);
  expect(deleted[0]?.row).toContain(name);
  // LiteLLM's own abbreviation of a key is sk- and its last four characters.
  expect(deleted[0]?.row).not.toMatch(/sk-(?!\.\.\.)/);
});

test('refuses to remove or install with a key that the proxy does not know', async () => {
  await expect(removeCanary({ ...canary(), masterKey: master })).rejects.toMatchObject({ type: 'WrongKey' });
  await expect(
    installCanary({ ...canary(), masterKey: master, endpointUrl: endpoint.url }),
  ).rejects.toMatchObject({ type: 'WrongKey' });
  expect(await rows()).toBe(before);
});
