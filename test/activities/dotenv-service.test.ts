import { readFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { createPreflightActivities } from '../../src/activities/preflight.ts';
import { createServiceActivities } from '../../src/activities/service.ts';
import { createVerificationActivities } from '../../src/activities/verification.ts';
import { compose } from '../../src/composition.ts';
import { parseConfig } from '../../src/config/config.ts';
import { decideCase } from '../../src/rotation/case.ts';
import { installPythonDotenv } from '../secret-stores/other-readers.ts';
import { newKeys, temporaryDirectory, writeFiles } from '../secret-stores/store-fixture.ts';
import { fence, job, rotation, run } from './daemon.ts';

const program = join(import.meta.dirname, 'fixtures/dotenv-service.sh');
const keys = `LITELLM_MASTER_KEY=sk-${'a'.repeat(43)}\nLITELLM_SALT_KEY=sk-${'b'.repeat(43)}\n`;
const { signal } = new AbortController();

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A target as its configuration makes it, whose LiteLLM reads a .env file by itself. */
async function useDotenvService() {
  const directory = temporaryDirectory();
  const [file] = await writeFiles(directory, { '.env': keys });
  const [pidFile, port] = [join(directory, 'pid'), await freePort()];
  const target = {
    database: { url: { env: 'DATABASE' } },
    secrets: { files: [{ path: file!.path, reader: 'dotenv' }] },
    service: {
      type: 'command',
      start: [program, 'start', pidFile, file!.path, String(port)],
      stop: [program, 'stop', pidFile],
      status: [program, 'status', pidFile],
      environment: { PYTHONPATH: installPythonDotenv() },
    },
    proxy: { url: `http://127.0.0.1:${port}` },
  };
  const config = parseConfig(JSON.stringify({ targets: { prod: target } }), 'config.yaml');
  const environment = { DATABASE: 'postgresql://nobody@127.0.0.1:1/none' };
  const ports = compose(config, environment, () => Promise.resolve(false));
  onTestFinished(async () => {
    await ports[Symbol.asyncDispose]();
    const pid = Number(await readFile(pidFile, 'utf8').catch(() => '0'));
    if (pid > 1) process.kill(pid, 'SIGKILL');
  });
  const { service, store } = ports.target('prod');
  const restart = async () => {
    await service.stop(fence, signal);
    const { instance = null } = await service.start(fence, signal);
    await run(() => createServiceActivities(ports).awaitReady({ ...job, instance }));
  };
  return { ports, store, restart };
}

test('a LiteLLM that reads its keys from a .env file by itself, and is given none, is rotated on what its proxy proves', async () => {
  const { ports, store, restart } = await useDotenvService();
  await store.prepare(rotation, fence, newKeys);
  await restart();
  const rotationCase = decideCase(true, ['master', 'salt']);
  const { findings } = await run(() =>
    createPreflightActivities(ports).inspectService({ ...job, rotationCase }),
  );
  expect(findings.filter(({ severity }) => severity === 'blocking')).toEqual([]);

  const verify = (side: 'previous' | 'pending') =>
    run(() => createVerificationActivities(ports).verifyKeys({ ...job, side }));
  await store.promote(rotation, fence);
  await expect(verify('pending')).rejects.toMatchObject({ type: 'WrongKey' });
  await restart();
  await expect(verify('pending')).resolves.toBeUndefined();
});
