import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { createKeyActivities } from '../../src/activities/keys.ts';
import { createReencryptionActivities } from '../../src/activities/reencryption.ts';
import { createValueActivities } from '../../src/activities/values.ts';
import { begin, beforeSalt, dump, fillModels, never, sealed } from '../reencryption/database.ts';
import { useTestDatabase } from '../reencryption/database-hooks.ts';
import { newKeys } from '../secret-stores/store-fixture.ts';
import { fence, run, useDaemon } from './daemon.ts';

const lab = useTestDatabase();
const job = { target: 'prod', rotation: 'r-1' };

/** A rotation that is staged. */
async function staged() {
  // The test itself is connected as the owner of the tables.
  const database = lab.rotationDatabase({ proxyRole: 'proxy' });
  const { service, target, ports, keysFile } = await useDaemon(
    'LITELLM_MASTER_KEY=sk-master-previous\nLITELLM_SALT_KEY=salt-previous\n',
    { database, knownKeys: [] },
  );
  await target.store.prepare(job.rotation, await begin(database), newKeys);
  const activities = { ...createValueActivities(ports), ...createKeyActivities(ports) };
  await run(() => activities.stageValues({ ...job, expected: 143 }));
  return { activities, keysFile, database, service, store: target.store };
}

test('an edit of a key file before the swap is a reason not to swap: nothing is changed, and the edit stays', async () => {
  const { activities, keysFile } = await staged();
  const before = await dump(lab.client);
  await appendFile(keysFile, 'ADDED=1\n');
  await expect(run(() => activities.swapValues(job))).rejects.toMatchObject({ type: 'ChangedElsewhere' });
  expect(await dump(lab.client)).toEqual(before);
  expect(await readFile(keysFile, 'utf8')).toMatch(/\nADDED=1\n$/);
});

test('values are not swapped beside a LiteLLM that somebody has started since the fence was proved; after the swap it is no matter', async () => {
  const { activities, service } = await staged();
  const before = await dump(lab.client);
  await service.start(fence, never);
  await expect(run(() => activities.swapValues(job))).rejects.toMatchObject({
    type: 'ChangedElsewhere',
    message: expect.stringMatching(
      /^service litellm: found running, pid \d+, which somebody has started since LiteLLM was stopped/,
    ) as string,
  });
  expect(await dump(lab.client)).toEqual(before);
  await service.stop(fence, never);
  const report = await run(() => activities.swapValues(job));
  await service.start(fence, never);
  expect(await run(() => activities.swapValues(job))).toEqual(report);
});

test('an edit after the swap is none: an attempt whose predecessor has swapped says what that did', async () => {
  const { activities, keysFile } = await staged();
  const report = await run(() => activities.swapValues(job));
  expect(report.values).toBeGreaterThan(100);
  await appendFile(keysFile, 'ADDED=1\n');
  expect(await run(() => activities.swapValues(job))).toEqual(report);
});

test('values are restored once, and a rotation that has swapped none restores none', async () => {
  const { activities } = await staged();
  const before = await dump(lab.client);
  const none = { rows: 0, resealedValues: 0 };
  expect(await run(() => activities.restoreValues(job))).toEqual(none);
  const { rows } = await run(() => activities.swapValues(job));
  expect(await run(() => activities.restoreValues(job))).toEqual({ rows, resealedValues: 0 });
  expect(await dump(lab.client)).toEqual(before);
  expect(await run(() => activities.restoreValues(job))).toEqual(none);
});

test('previous keys and before-images are destroyed together: a key file on neither side keeps both', async () => {
  const { activities, keysFile, database, store } = await staged();
  await run(() => activities.swapValues(job));
  await run(() => activities.writeSecrets(job));
  const written = await readFile(keysFile);
  await appendFile(keysFile, 'ADDED=1\n');
  await expect(run(() => activities.destroyPreviousKeys(job))).rejects.toMatchObject({
    type: 'ChangedElsewhere',
  });
  expect((await database.observe(job.rotation)).staged).toBeGreaterThan(50);
  expect(await store.observe(job.rotation)).toMatchObject({ prepared: true });

  await writeFile(keysFile, written);
  await run(() => activities.destroyPreviousKeys(job));
  expect((await database.observe(job.rotation)).staged).toBe(0);
  expect(await store.observe(job.rotation)).toMatchObject({ prepared: false });
});

test('values are not sealed anew with a key that opens none of them: files and database hardly belong together', async () => {
  await lab.client.query('delete from "LiteLLM_CredentialsTable"; delete from "LiteLLM_ProxyModelTable"');
  const twice = (): object => ({ a: sealed(sealed('PLAIN-twice', beforeSalt), beforeSalt) });
  await fillModels(lab.client, 3, twice);
  const keys = 'LITELLM_MASTER_KEY=sk-master-previous\nLITELLM_SALT_KEY=of-another-deployment\n';
  const { ports } = await useDaemon(keys, { database: lab.rotationDatabase(), knownKeys: [] });
  const activities = createReencryptionActivities(ports);
  await expect(
    run(() => activities.planReencryption({ ...job, upgradeFormat: null, repairSealedTwice: true })),
  ).rejects.toMatchObject({
    type: 'Refused',
    message: expect.stringContaining('none of which the current salt key opens') as string,
  });
});
