import { afterAll, beforeAll, expect, test } from 'vitest';
import { stopAll } from '../../lab/cleanup.ts';
import { createLiteLLMDatabase } from '../../lab/litellm/database.ts';
import { startLiteLLM } from '../../lab/litellm/proxy.ts';
import { startPostgres, withClient } from '../../lab/postgres.ts';
import { generateKey } from '../../src/litellm/new-keys.ts';
import type { NewModel, Proxy } from '../../src/litellm/proxy-port.ts';
import { createProxy } from '../../src/litellm/proxy.ts';

const master = generateKey();
const model: NewModel = {
  id: 'b-model-id',
  name: 'b-model',
  provider: 'openai/b',
  apiKey: generateKey(),
  apiBase: 'http://127.0.0.1:9/v1',
};
const virtualKey = { key: generateKey(), alias: 'virtual', models: ['b-model'], duration: '1h' };

let databaseUrl: string;
let proxy: Proxy;
beforeAll(async () => {
  const postgres = await startPostgres();
  databaseUrl = await createLiteLLMDatabase(postgres, 'proxy');
  const { url } = await startLiteLLM({ databaseUrl, masterKey: master.reveal() });
  proxy = createProxy({ url });
});
afterAll(stopAll);

async function count(table: string): Promise<number> {
  return withClient(databaseUrl, async (client) => {
    const { rows } = await client.query<{ n: number }>(`select count(*)::int as n from "${table}"`);
    return rows[0]?.n ?? -1;
  });
}

test('is live, ready and listening', async () => {
  expect(await proxy.liveness()).toBe(true);
  expect(await proxy.readiness()).toEqual({
    ready: true,
    detail: '200, status "healthy", database "connected"',
  });
  expect(await proxy.isListening()).toBe(true);
});

test('accepts its master key and refuses every other', async () => {
  expect(await proxy.tryKey(master)).toBe('accepted');
  expect(await proxy.tryKey(generateKey())).toBe('refused');
});

test('stores a model once, lists it, and deletes it once', async () => {
  await proxy.addModel(master, { ...model, id: 'z-model-id', name: 'a-model' });
  await proxy.addModel(master, model);
  await proxy.addModel(master, model);
  expect(await count('LiteLLM_ProxyModelTable')).toBe(2);
  expect(await proxy.models(master)).toEqual(['a-model', 'b-model']);
  expect(await proxy.modelInfo(master)).toContainEqual({
    id: 'b-model-id',
    name: 'b-model',
    apiBase: model.apiBase,
  });
  await proxy.deleteModel(master, 'z-model-id');
  await proxy.deleteModel(master, 'z-model-id');
  expect(await proxy.models(master)).toEqual(['b-model']);
  expect(await count('LiteLLM_ProxyModelTable')).toBe(1);
});

test('stores a virtual key once, which may call its models only, and deletes it once', async () => {
  await proxy.generateKey(master, virtualKey);
  await proxy.generateKey(master, virtualKey);
  expect(await count('LiteLLM_VerificationToken')).toBe(1);
  expect(await proxy.tryKey(virtualKey.key)).toBe('accepted');
  expect(await proxy.models(virtualKey.key)).toEqual(['b-model']);
  await proxy.deleteKey(master, virtualKey.key);
  await proxy.deleteKey(master, virtualKey.key);
  expect(await count('LiteLLM_VerificationToken')).toBe(0);
  expect(await proxy.tryKey(virtualKey.key)).toBe('refused');
});

test('says which request failed, and how, when the provider is not there', async () => {
  const error = await proxy.chat(master, 'b-model').then(
    () => undefined,
    (reason: Error) => reason,
  );
  expect(error).toMatchObject({ name: 'RotationError', type: 'ProxyFailed' });
  expect(error?.message).toMatch(/: POST \/v1\/chat\/completions answered \d{3}( \(\w+\))?, expected 200; /);
});

test('every request with a wrong key is refused as WrongKey', async () => {
  const wrong = generateKey();
  for (const request of [
    () => proxy.models(wrong),
    () => proxy.modelInfo(wrong),
    () => proxy.addModel(wrong, model),
    () => proxy.deleteModel(wrong, model.id),
    () => proxy.generateKey(wrong, virtualKey),
    () => proxy.deleteKey(wrong, virtualKey.key),
    () => proxy.chat(wrong, model.name),
  ]) {
    const error = await request().then(
      () => undefined,
      (reason: Error) => reason,
    );
    expect(error, request.toString()).toMatchObject({ type: 'WrongKey' });
    expect(error?.message).not.toContain(wrong.reveal().slice(-4));
  }
});
