import { appendFile, readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { createValueActivities } from '../../src/activities/values.ts';
import { begin, dump } from '../reencryption/database.ts';
import { useTestDatabase } from '../reencryption/database-hooks.ts';
import { newKeys } from '../secret-stores/store-fixture.ts';
import { run, useDaemon } from './daemon.ts';

const lab = useTestDatabase();
const job = { target: 'prod', rotation: 'r-1' };

/** A rotation that is staged. */
async function staged() {
  const database = lab.rotationDatabase();
  const { target, ports, keysFile } = await useDaemon(
    'LITELLM_MASTER_KEY=sk-master-previous\nLITELLM_SALT_KEY=salt-previous\n',
    { database, knownKeys: [] },
  );
  await target.store.prepare(job.rotation, await begin(database), newKeys);
  const activities = createValueActivities(ports);
  await run(() => activities.stageValues({ ...job, expected: 143 }));
  return { activities, keysFile };
}

test('an edit of a key file before the swap is a reason not to swap: nothing is changed, and the edit stays', async () => {
  const { activities, keysFile } = await staged();
  const before = await dump(lab.client);
  await appendFile(keysFile, 'ADDED=1\n');
  await expect(run(() => activities.swapValues(job))).rejects.toMatchObject({ type: 'ChangedElsewhere' });
  expect(await dump(lab.client)).toEqual(before);
  expect(await readFile(keysFile, 'utf8')).toMatch(/\nADDED=1\n$/);
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
