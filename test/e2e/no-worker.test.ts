import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { startTemporal, type Temporal } from '../../lab/temporal.ts';
import { cliPath } from '../../lab/worker.ts';
import { scratchDirectory } from '../packaging/project.ts';

const sound = `targets:
  prod:
    database: { url: { env: DATABASE } }
    secrets: { files: [{ path: /etc/litellm/keys.env, reader: systemd }] }
    service: { type: systemd, unit: litellm.service }
    proxy: { url: http://127.0.0.1:9 }
`;

/** Temporal without a worker, as after a reboot of the host that has it. */
let temporal: Temporal;
beforeAll(async () => {
  temporal = await startTemporal();
}, 120_000);
afterAll(() => temporal?.stop());

async function cli(args: readonly string[], env: NodeJS.ProcessEnv = {}, interruptAt?: RegExp) {
  const child = execa(process.execPath, [cliPath, ...args], {
    env: { TEMPORAL_ADDRESS: temporal.address, ...env },
    reject: false,
  });
  let [shown, interrupted] = ['', false];
  child.stderr.on('data', (data) => {
    shown += String(data);
    if (!interrupted && interruptAt?.test(shown) === true) interrupted = child.kill('SIGINT');
  });
  const { exitCode, stdout, stderr } = await child;
  return { exitCode, stdout, stderr };
}

test('a rotation that no worker has taken says so, in the list and by itself', async () => {
  await cli(['rotate', 'prod', '--detach', '--workflow-id', 'untaken']);
  expect((await cli(['status'])).stdout).toMatch(/- +running +- +untaken/);
  for (const args of [
    ['status', 'untaken'],
    ['status', 'untaken', '--json'],
  ]) {
    const { exitCode, stdout, stderr } = await cli(args);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toContain('workflow untaken: found no worker that answers for it');
  }
}, 120_000);

test('what others have written is shown, and obeyed by no terminal', async () => {
  const workflowId = 'cleared\u001B[2J\u009B2J\u202E';
  await cli(['rotate', 'prod', '--detach', '--workflow-id', workflowId]);
  for (const args of [['status'], ['status', workflowId]]) {
    const { stdout, stderr } = await cli(args);
    const shown = stdout + stderr;
    expect(shown).toContain(String.raw`cleared\u001b[2J\u009b2J\u202e`);
    expect(shown).not.toMatch(/[^\P{C}\n]/u);
  }
}, 120_000);

test.for([['inventory'], ['reconcile'], ['plan']] as const)(
  '%s says that it waits, until Ctrl-C',
  { timeout: 120_000 },
  async ([command]) => {
    const { exitCode, stderr } = await cli([command, 'prod'], {}, /waiting for a worker on the task queue/);
    expect(stderr).toMatch(/^litellm-rotate: .* prod: workflow /);
    expect(stderr).toContain('no longer following');
    expect(exitCode).toBe(130);
  },
);

test.for([[['status']], [['plan', 'prod']], [['schedule', 'list']]] as const)(
  '%j in a namespace that there is not ends with 2',
  { timeout: 120_000 },
  async ([args]) => {
    const { exitCode, stdout, stderr } = await cli(args, { TEMPORAL_NAMESPACE: 'nope' });
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain(
      'found no namespace nope; expected one that is there; correct TEMPORAL_NAMESPACE',
    );
  },
);

test('a schedule whose rotation is at work starts none beside it, and says so', async () => {
  expect((await cli(['schedule', 'create', 'busy', '--every', '90d'])).exitCode).toBe(0);
  expect((await cli(['schedule', 'trigger', 'busy'])).exitCode).toBe(0);
  await expect
    .poll(async () => (await cli(['schedule', 'trigger', 'busy'])).exitCode, { timeout: 30_000 })
    .toBe(1);
  const { stdout, stderr } = await cli(['schedule', 'trigger', 'busy']);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/schedule rotate-busy: found its rotation rotate-busy-\S+ at work; expected none/);
}, 60_000);

test('a command that follows waits for a Temporal that is restarted, and says so', async () => {
  const dbFilename = join(await scratchDirectory(), 'temporal.db');
  const first = await startTemporal({ dbFilename });
  const child = execa(process.execPath, [cliPath, 'plan', 'prod'], {
    env: { TEMPORAL_ADDRESS: first.address },
    reject: false,
  });
  let shown = '';
  child.stderr.on('data', (data) => (shown += String(data)));
  const untilShown = (what: string, times = 1) =>
    expect.poll(() => shown.split(what).length - 1, { timeout: 60_000 }).toBeGreaterThanOrEqual(times);
  await untilShown('waiting for a worker');
  await first.stop();
  await untilShown('Temporal does not answer');
  const second = await startTemporal({ dbFilename, port: Number(first.address.split(':')[1]) });
  await untilShown('waiting for a worker', 2);
  child.kill('SIGINT');
  expect((await child).exitCode).toBe(130);
  await second.stop();
}, 120_000);

/** Serves gRPC with one status to every call but the first look at the server, and with `all` to that, too. */
async function refuse(status: number, all: boolean): Promise<string> {
  const server = createServer().on('stream', (stream, headers) => {
    const answer = { ':status': 200, 'content-type': 'application/grpc' };
    if (all || headers[':path']?.endsWith('GetSystemInfo') !== true)
      return stream.respond({ ...answer, 'grpc-status': `${status}` }, { endStream: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.respond(answer, { waitForTrailers: true });
    return stream.end(Buffer.alloc(5));
  });
  onTestFinished(() => void server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test.for([
  ['PERMISSION_DENIED', 7, true],
  ['PERMISSION_DENIED', 7, false],
  ['UNAUTHENTICATED', 16, true],
  ['UNAUTHENTICATED', 16, false],
] as const)(
  'a server that answers with %s is told from one that is not there',
  { timeout: 60_000 },
  async ([, status, all]) => {
    const env = { TEMPORAL_ADDRESS: await refuse(status, all) };
    const config = join(await scratchDirectory(), 'config.yaml');
    await writeFile(config, sound);
    for (const args of [['status'], ['plan', 'prod'], ['worker', '--config', config]]) {
      const { exitCode, stdout, stderr } = await cli(args, env);
      expect(stderr).toMatch(
        /^litellm-rotate: error: .*found that it does not let this client into namespace/m,
      );
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    }
  },
);

test.for(['', 'http://127.0.0.1:7233', 'temporal'])('the address "%s" is refused', async (address) => {
  const { exitCode, stderr } = await cli(['status'], { TEMPORAL_ADDRESS: address });
  expect(exitCode).toBe(2);
  expect(stderr).toContain(`the address of Temporal: found "${address}"; expected host:port`);
});
