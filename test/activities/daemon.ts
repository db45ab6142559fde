import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Ports, Target } from '../../src/activities/ports.ts';
import { createProxy } from '../../src/litellm/proxy.ts';
import type { Proxy } from '../../src/litellm/proxy-port.ts';
import { createEnvFileStore } from '../../src/secret-stores/env-file/store.ts';
import { createCommandService } from '../../src/services/command-service.ts';
import { createFence, temporaryDirectory, writeFiles } from '../secret-stores/store-fixture.ts';

export const rotation = 'rotation-1';
export const job = { target: 'prod', rotation };
export const fence = createFence(rotation);
const program = join(import.meta.dirname, '../services/fixtures/daemon.sh');

/** A target whose service is a daemon that reads `keys.env` at its start; what is not given has no part in the test. */
export async function useDaemon(keys: string, parts: Partial<Target> = {}) {
  const directory = temporaryDirectory();
  const files = await writeFiles(directory, { 'keys.env': keys }, { reader: 'shell' });
  const service = createCommandService({
    name: 'litellm',
    start: [program, 'start', directory],
    stop: [program, 'stop', directory],
    status: [program, 'status', directory],
    log: join(directory, 'log'),
  });
  const target = {
    service,
    store: createEnvFileStore({
      files,
      names: { master: ['LITELLM_MASTER_KEY'], salt: ['LITELLM_SALT_KEY'] },
    }),
    proxies: [],
    variables: { master: 'LITELLM_MASTER_KEY', salt: 'LITELLM_SALT_KEY' },
    timing: { readyTimeoutMs: 300, fenceTimeoutMs: 300, observeMs: 0, maxOutageMs: undefined },
    database: { fence: () => Promise.resolve(fence) },
    ...parts,
  } as unknown as Target;
  const ports = { target: () => target, createRedactor: () => (line: string) => line } as unknown as Ports;
  onTestFinished(async () => {
    const pid = Number(await readFile(join(directory, 'pid'), 'utf8').catch(() => '0'));
    // It leads a session of its own.
    if (pid > 1) process.kill(-pid, 'SIGKILL');
  });
  return {
    directory,
    keysFile: join(directory, 'keys.env'),
    log: join(directory, 'log'),
    service,
    target,
    ports,
  };
}

/** Runs an activity as a worker does. */
export function run<T>(activity: () => Promise<T>): Promise<T> {
  const info = { currentAttemptScheduledTimestampMs: Date.now() };
  return new MockActivityEnvironment(info, { logger: new DefaultLogger('ERROR') }).run(activity);
}

/** A proxy that answers as told: its readiness, and each key. */
export async function serve(answers: {
  readonly ready?: object;
  readonly statusOf?: (key: string | undefined) => number;
  readonly models?: readonly string[];
}): Promise<Proxy> {
  const { ready = { status: 'healthy', db: 'connected' }, statusOf = () => 200, models = [] } = answers;
  const server = createServer(({ url, headers }, response) => {
    const isReadiness = url === '/health/readiness';
    const key = headers.authorization?.replace('Bearer ', '');
    const body = isReadiness ? ready : { data: models.map((id) => ({ id })) };
    response.writeHead(isReadiness ? 200 : statusOf(key)).end(JSON.stringify(body));
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return createProxy({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}
