import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { seeModels } from '../../src/activities/proofs.ts';
import { createVerificationActivities } from '../../src/activities/verification.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { newKeys, pendingMaster, pendingSalt } from '../secret-stores/store-fixture.ts';
import { fence, job, rotation, run, serve, useDaemon } from './daemon.ts';

const keys = 'LITELLM_MASTER_KEY=sk-previous-master\nLITELLM_SALT_KEY=sk-previous-salt\n';
const { signal } = new AbortController();

/** After a cutover: the files hold the pending keys, the proxy takes them, and the process was started as told. */
async function cutOver(startedWith: (pending: string) => string) {
  const proxy = await serve({ statusOf: (key) => (key === pendingMaster ? 200 : 401) });
  const { service, target, ports, keysFile } = await useDaemon(keys, { proxies: [proxy] });
  await target.store.prepare(rotation, fence, newKeys);
  await target.store.promote(rotation, fence);
  const pending = `LITELLM_MASTER_KEY=${pendingMaster}\nLITELLM_SALT_KEY=${pendingSalt}\n`;
  await writeFile(keysFile, startedWith(pending));
  await service.start(fence, signal);
  const activities = createVerificationActivities(ports);
  return (side: 'pending' | 'previous') => run(() => activities.verifyKeys({ ...job, side }));
}

test('a process with the new keys, whose proxy takes the new one alone, is on the new side and not on the old', async () => {
  const verify = await cutOver((pending) => pending);
  await expect(verify('pending')).resolves.toBeUndefined();
  await expect(verify('previous')).rejects.toMatchObject({ type: 'WrongKey' });
});

test.for([
  [
    'another salt key',
    () => `LITELLM_MASTER_KEY=${pendingMaster}\nLITELLM_SALT_KEY=sk-previous-salt\n`,
    'has another value for',
  ],
  ['no salt key', () => `LITELLM_MASTER_KEY=${pendingMaster}\n`, 'was not given'],
] as const)(
  'a process with %s is found, though the proxy answers as it must: of its salt key, a proxy tells nothing',
  async ([, startedWith, found]) => {
    const verify = await cutOver(startedWith);
    await expect(verify('pending')).rejects.toMatchObject({
      type: 'WrongKey',
      message: expect.stringMatching(
        `${found} LITELLM_SALT_KEY; expected the value of the secret files`,
      ) as string,
    });
    await expect(verify('pending')).rejects.not.toThrow(/sk-/);
  },
);

test('the previous keys are proved by those of the files, where the slot is gone and the database is on them', async () => {
  let side = 'previous';
  const observe = () => Promise.resolve({ side, staged: 0 });
  const proxy = await serve({ statusOf: (key) => (key === 'sk-previous-master' ? 200 : 401), models: ['m'] });
  const { directory, service, target, ports } = await useDaemon(keys, {
    proxies: [proxy],
    database: { observe } as never,
  });
  await target.store.prepare(rotation, fence, newKeys);
  await service.start(fence, signal);
  await rm(join(directory, '.litellm-rotate'), { recursive: true });
  const activities = createVerificationActivities(ports);
  const back = { ...job, side: 'previous' } as const;
  await run(() => activities.verifyKeys(back));
  const seen = await seeModels(proxy, new Secret('sk-previous-master'));
  expect(await run(() => activities.countModels({ ...job, ...seen }))).toEqual({ models: 1, same: true });
  const noSlot = { type: 'ChangedElsewhere', message: expect.stringContaining('found no slot') as string };
  await expect(run(() => activities.verifyKeys({ ...job, side: 'pending' }))).rejects.toMatchObject(noSlot);
  side = 'pending';
  await expect(run(() => activities.verifyKeys(back))).rejects.toMatchObject(noSlot);
});

test('other models than before are a failure on the way forward, and on the way back they are counted', async () => {
  const proxy = await serve({ models: ['stored-before', 'stored-meanwhile'] });
  const { target, ports } = await useDaemon(keys, { proxies: [proxy] });
  await target.store.prepare(rotation, fence, newKeys);
  const activities = createVerificationActivities(ports);
  const before = { ...job, models: 1, modelsDigest: 'of another list' };
  expect(await run(() => activities.countModels(before))).toEqual({ models: 2, same: false });
  await expect(run(() => activities.verifyModels(before))).rejects.toMatchObject({
    type: 'WrongKey',
    message: expect.stringContaining('found 2 models, expected the 1 of before') as string,
  });
});
