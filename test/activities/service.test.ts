import { appendFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createCanaryActivities } from '../../src/activities/canary.ts';
import { createServiceActivities } from '../../src/activities/service.ts';
import { newKeys } from '../secret-stores/store-fixture.ts';
import { fence, job, rotation, run, serve, useDaemon } from './daemon.ts';

const keys = 'LITELLM_MASTER_KEY=sk-previous-master\n';
const { signal } = new AbortController();
const nobody = () => Promise.resolve([]);

test('a rollback stops LiteLLM only while there are keys to go back to', async () => {
  const { service, target, ports } = await useDaemon(keys);
  const stop = () => run(() => createServiceActivities(ports).stopServiceAgain(job));
  await service.start(fence, signal);
  await target.store.prepare(rotation, fence, newKeys);
  await stop();
  expect(await service.observe()).toMatchObject({ state: 'stopped' });

  // As another workflow does that has led the same rotation forward meanwhile.
  await service.start(fence, signal);
  await target.store.promote(rotation, fence);
  await target.store.discard(rotation, fence, 'pending');
  await expect(stop()).rejects.toMatchObject({
    type: 'ChangedElsewhere',
    message: expect.stringContaining('found no slot') as string,
  });
  expect(await service.observe()).toMatchObject({ state: 'running' });
});

test('LiteLLM is not stopped for a rotation whose pending keys are gone: there would be an outage for nothing', async () => {
  const { directory, service, target, ports } = await useDaemon(keys);
  await service.start(fence, signal);
  await target.store.prepare(rotation, fence, newKeys);
  await rm(join(directory, '.litellm-rotate'), { recursive: true });
  await expect(run(() => createServiceActivities(ports).stopService(job))).rejects.toMatchObject({
    type: 'ChangedElsewhere',
    message: expect.stringContaining('found no slot') as string,
  });
  expect(await service.observe()).toMatchObject({ state: 'running' });
  // Nor is its canary taken for removed: its virtual key would stay valid.
  await expect(run(() => createCanaryActivities(ports).removeCanary(job))).rejects.toMatchObject({
    message: expect.stringContaining('found no slot') as string,
  });
});

describe('the proof that nothing can write with the current key', () => {
  test('is given where nothing runs, listens or is connected', async () => {
    const { ports } = await useDaemon(keys, { database: { proxySessions: nobody } as never });
    await expect(run(() => createServiceActivities(ports).proveFenced(job))).resolves.toEqual({
      detail: 'no process, no open port, no database session',
    });
  });

  test('fails for a service that was started again by somebody', async () => {
    const { service, ports } = await useDaemon(keys, { database: { proxySessions: nobody } as never });
    await service.start(fence, signal);
    await expect(run(() => createServiceActivities(ports).proveFenced(job))).rejects.toMatchObject({
      type: 'ServiceFailed',
      message: expect.stringMatching(
        /^service litellm: found running, pid \d+ after the service was stopped/,
      ) as string,
    });
  });

  test('fails for a port that still answers, as one of another process does', async () => {
    const proxy = await serve({});
    const { ports } = await useDaemon(keys, {
      proxies: [proxy],
      database: { proxySessions: nobody } as never,
    });
    await expect(run(() => createServiceActivities(ports).proveFenced(job))).rejects.toMatchObject({
      type: 'ServiceFailed',
      message: expect.stringContaining(`${proxy.url}: found that its port still answers`) as string,
    });
  });
});

describe('the wait for a start', () => {
  test('ends with what the proxy says and the last lines of the log, when it is not ready in time', async () => {
    const proxy = await serve({ ready: { status: 'unhealthy', db: 'Not connected' } });
    const { service, target, log, ports } = await useDaemon(keys, { proxies: [proxy] });
    await target.store.prepare(rotation, fence, newKeys);
    const { instance = null } = await service.start(fence, signal);
    await appendFile(log, 'cannot reach the database\n');
    await expect(
      run(() => createServiceActivities(ports).awaitReady({ ...job, instance })),
    ).rejects.toMatchObject({
      type: 'ServiceFailed',
      message: expect.stringMatching(
        /database "Not connected": not ready .* expected ready within 0\.3 s[^]*last lines of its log:[^]*cannot reach the database/,
      ) as string,
    });
  });

  test('fails for another start than that of this rotation, ready as it may be', async () => {
    const { service, target, ports } = await useDaemon(keys, { proxies: [await serve({})] });
    await target.store.prepare(rotation, fence, newKeys);
    const { instance = null } = await service.start(fence, signal);
    await service.stop(fence, signal);
    await service.start(fence, signal);
    await expect(
      run(() => createServiceActivities(ports).awaitReady({ ...job, instance })),
    ).rejects.toMatchObject({
      type: 'ServiceFailed',
      message: expect.stringContaining('expected the start of this rotation to stay up') as string,
    });
  });
});

describe('the watch of the log', () => {
  async function watch(tolerate: boolean, observeMs = 0) {
    const daemon = await useDaemon(keys);
    Object.assign(daemon.target.timing, { observeMs });
    await daemon.service.start(fence, signal);
    await appendFile(daemon.log, 'Error decrypting value for key: api_key, ...\n');
    return {
      ...daemon,
      watching: run(() => createServiceActivities(daemon.ports).watchServiceLog({ ...job, tolerate })),
    };
  }

  test('fails for a value that LiteLLM could not decrypt', async () => {
    const { watching } = await watch(false);
    await expect(watching).rejects.toMatchObject({
      type: 'WrongKey',
      message: expect.stringContaining('found 1 decryption errors') as string,
    });
  });

  test('counts such errors and goes on, where there were some before the rotation', async () => {
    const { watching } = await watch(true);
    expect(await watching).toMatchObject({ errors: 1, lines: 2 });
  });

  test('fails when the start that is watched has ended, whatever the log holds', async () => {
    const { service, watching } = await watch(true, 30_000);
    const failed = expect(watching).rejects.toMatchObject({
      type: 'ServiceFailed',
      message: expect.stringContaining('expected the start of this rotation to stay up') as string,
    });
    await service.stop(fence, signal);
    await failed;
  });
});

test('the service is not stopped for a key file that somebody has changed: there would be an outage for nothing', async () => {
  const { service, target, keysFile, ports } = await useDaemon(keys);
  await service.start(fence, signal);
  await target.store.prepare(rotation, fence, newKeys);
  await writeFile(keysFile, `${keys}ADDED=by-somebody\n`);
  await expect(run(() => createServiceActivities(ports).stopService(job))).rejects.toMatchObject({
    type: 'ChangedElsewhere',
    message: expect.stringContaining(`${keysFile}: found a change made since preflight`) as string,
  });
  expect(await service.observe()).toMatchObject({ state: 'running' });
});
