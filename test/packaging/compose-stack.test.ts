import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseEnv } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canRunComposeStack, type ComposeStack, startComposeStack } from '../../lab/compose-stack/stack.ts';
import { type Docker, startDocker } from '../../lab/docker.ts';
import { openWithLiteLLM } from '../../lab/litellm/ciphers.ts';
import { createProxy } from '../../src/litellm/proxy.ts';
import { Secret } from '../../src/rotation/secret.ts';

const why = await canRunComposeStack();
if (why !== undefined) console.log(`docker-compose.yml is not run as a whole: ${why}`);

const providerKey = 'sk-of_the-provider';

describe.skipIf(why !== undefined)('the stack that `docker compose up` started', () => {
  let docker: Docker;
  let stack: ComposeStack;
  /** Every key that was in force. */
  const seen: string[] = [];

  beforeAll(async () => {
    docker = await startDocker();
    stack = await startComposeStack(docker, { observe: '1s' });
    seen.push(...Object.values(await keys()));
  }, 900_000);
  afterAll(async () => {
    await stack?.stop();
    await docker?.stop();
  }, 60_000);

  const keyFile = () => join(stack.directory, 'packaging/compose/keys/litellm.env');
  const keys = async () =>
    parseEnv(await readFile(keyFile(), 'utf8')) as { LITELLM_MASTER_KEY: string; LITELLM_SALT_KEY: string };
  const cli = (...args: string[]) => stack.compose('exec', 'worker', 'node', 'dist/src/cli.js', ...args);
  const container = async (service: string) => (await stack.compose('ps', '--quiet', service)).stdout;

  async function request(key: string, path: string, body?: object): Promise<number> {
    const answer = await fetch(`${await stack.url('litellm', 4000)}${path}`, {
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    });
    await answer.arrayBuffer();
    return answer.status;
  }

  async function storedProviderKey(): Promise<string> {
    const sql = `select litellm_params ->> 'api_key' from "LiteLLM_ProxyModelTable"`;
    const psql = ['psql', '--username=postgres', '--dbname=litellm', '--tuples-only', '--no-align'];
    return (await stack.compose('exec', 'postgres', ...psql, '--command', sql)).stdout.trim();
  }

  test('is complete for `doctor`', async () => {
    const { exitCode, stdout } = await cli('doctor');
    expect(stdout).not.toContain('✗');
    expect(exitCode, stdout).toBe(0);
    expect(stdout).toContain('Temporal at temporal:7233, namespace default: 1 worker(s)');
  });

  test('has a LiteLLM that reaches its database, and not Temporal', async () => {
    const connect = (host: string, port: number) =>
      stack.compose('exec', 'litellm', 'bash', '-c', `timeout 20 bash -c '</dev/tcp/${host}/${port}'`);
    expect(await connect('postgres', 5432)).toMatchObject({ exitCode: 0 });
    expect((await connect('temporal', 7233)).exitCode).not.toBe(0);
  });

  test('has a worker of which no memory image is written', async () => {
    expect((await stack.compose('exec', 'worker', 'sh', '-c', 'ulimit -c')).stdout).toBe('0');
  });

  test('has a LiteLLM without a model, which is no error', async () => {
    const proxy = createProxy({ url: await stack.url('litellm', 4000) });
    expect(await proxy.modelInfo(new Secret((await keys()).LITELLM_MASTER_KEY))).toEqual([]);
  });

  test('ends on new keys after `rotate local`, with its stored values', { timeout: 300_000 }, async () => {
    const [before, file, litellm] = [await keys(), await stat(keyFile()), await container('litellm')];
    const model = { model: 'openai/gpt-5', api_key: providerKey, api_base: 'http://127.0.0.1:1/v1' };
    const stored = { model_name: 'model', litellm_params: model };
    expect(await request(before.LITELLM_MASTER_KEY, '/model/new', stored)).toBe(200);

    const { exitCode, stdout, stderr } = await cli('rotate', 'local');
    expect(exitCode, `${stdout}\n${stderr}`).toBe(0);
    const after = await keys();
    seen.push(...Object.values(after));

    expect(new Set(seen).size).toBe(4);
    const { uid, gid, mode } = await stat(keyFile());
    expect({ uid, gid, mode }).toEqual({ uid: file.uid, gid: file.gid, mode: file.mode });
    expect(await request(after.LITELLM_MASTER_KEY, '/v1/models')).toBe(200);
    expect(await request(before.LITELLM_MASTER_KEY, '/v1/models')).toBe(401);
    const sealed = await storedProviderKey();
    expect(await openWithLiteLLM([sealed], after.LITELLM_SALT_KEY)).toEqual([providerKey]);
    expect(await openWithLiteLLM([sealed], before.LITELLM_SALT_KEY)).toEqual([undefined]);

    expect(await container('litellm')).not.toBe(litellm);
    const environment = await docker.run(
      'inspect',
      '--format',
      '{{json .Config.Env}}',
      await container('litellm'),
    );
    expect(JSON.parse(environment)).toEqual(
      expect.arrayContaining(Object.entries(after).map((entry) => entry.join('='))),
    );
  });

  test(
    'gets its keys back, byte for byte, when LiteLLM cannot be started',
    { timeout: 300_000 },
    async () => {
      const [bytes, file, { LITELLM_MASTER_KEY, LITELLM_SALT_KEY }] = [
        await readFile(keyFile()),
        await stat(keyFile()),
        await keys(),
      ];
      const { port } = new URL(await stack.url('litellm', 4000));
      const rotation = cli('rotate', 'local');
      // Another program has the port of the stopped service, until the rotation turns round.
      const ended = new AbortController();
      const taking = takePort(Number(port), ended.signal);
      for await (const line of rotation.iterable({ from: 'all' }))
        if (line === 'rollback') (await taking).close();
      ended.abort();
      (await taking).close();
      const { exitCode, all } = await rotation;

      expect(exitCode, all).toBe(3);
      expect(all).toContain('✗ Start compose service litellm');
      expect(await readFile(keyFile())).toEqual(bytes);
      const { uid, gid, mode } = await stat(keyFile());
      expect({ uid, gid, mode }).toEqual({ uid: file.uid, gid: file.gid, mode: file.mode });
      expect(await request(LITELLM_MASTER_KEY, '/v1/models')).toBe(200);
      expect(await openWithLiteLLM([await storedProviderKey()], LITELLM_SALT_KEY)).toEqual([providerKey]);
    },
  );

  test('shows no key in its logs, and none in what `docker inspect` says of the worker', async () => {
    const { stdout, stderr } = await stack.compose('logs', '--no-color');
    const inspected = await docker.run('inspect', await container('worker'));
    expect(stdout).toContain('worker ready');
    for (const text of [stdout, stderr, inspected])
      for (const key of [...seen, providerKey]) expect(text.includes(key)).toBe(false);
  });

  test('is left as the rotation started it by a further `docker compose up`', async () => {
    const before = await Promise.all(['postgres', 'temporal', 'litellm', 'worker'].map(container));
    expect(await stack.compose('up', '--detach', '--wait')).toMatchObject({ exitCode: 0 });
    expect(await Promise.all(['postgres', 'temporal', 'litellm', 'worker'].map(container))).toEqual(before);
  });
});

/** Listens on the port as soon as it is free. */
async function takePort(port: number, signal: AbortSignal) {
  for (;;) {
    signal.throwIfAborted();
    const server = createServer();
    const taken = once(server.listen(port, '127.0.0.1'), 'listening').then(
      () => true,
      () => false,
    );
    if (await taken) return server;
    await sleep(20);
  }
}
