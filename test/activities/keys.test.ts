import { MockActivityEnvironment } from '@temporalio/testing';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createKeyActivities } from '../../src/activities/keys.ts';
import type { Ports } from '../../src/activities/ports.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { createEnvFileStore } from '../../src/secret-stores/env-file/store.ts';
import { begin, masterKey, never, silent, transition } from '../reencryption/database.ts';
import { useTestDatabase } from '../reencryption/database-hooks.ts';
import {
  keysFileText,
  names,
  newKeys,
  pendingSalt,
  temporaryDirectory,
  writeFiles,
} from '../secret-stores/store-fixture.ts';

const lab = useTestDatabase();

/** Prepared, with nothing cut over yet. */
async function prepared() {
  const database = lab.rotationDatabase();
  const fence = await begin(database);
  const { rotation } = fence;
  const directory = temporaryDirectory();
  const store = createEnvFileStore({ files: await writeFiles(directory, { keys: keysFileText }), names });
  await store.prepare(rotation, fence, newKeys);
  const activities = createKeyActivities({ target: () => ({ database, store }) } as unknown as Ports);
  const run = (name: 'discardPendingKeys' | 'destroyPreviousKeys') =>
    new MockActivityEnvironment({ currentAttemptScheduledTimestampMs: Date.now() }).run(() =>
      activities[name]({ target: 'prod', rotation }),
    );
  const loseSlot = () => rm(join(directory, '.litellm-rotate'), { recursive: true });
  return { database, fence, rotation, store, run, loseSlot };
}

const refusal = (found: string) => ({
  type: 'ChangedElsewhere',
  message: expect.stringContaining(`found it under the ${found} key`) as string,
});

test('the previous keys stay while the database is under them, whatever the files say', async () => {
  const { fence, rotation, store, run } = await prepared();
  await store.promote(rotation, fence);
  await expect(run('destroyPreviousKeys')).rejects.toMatchObject(refusal('previous'));
  expect(await store.generations(rotation)).toBeDefined();
});

test('the pending keys stay while the database is under them, whatever the files say', async () => {
  const { database, fence, rotation, store, run } = await prepared();
  await database.stage(transition, fence, silent, never);
  await database.swap(transition, masterKey, fence, silent);
  await expect(run('discardPendingKeys')).rejects.toMatchObject(refusal('pending'));
  expect(await store.generations(rotation)).toBeDefined();

  await store.promote(rotation, await database.fence(rotation));
  await run('destroyPreviousKeys');
  expect(await store.generations(rotation)).toBeUndefined();
});

test('pending keys that nothing is under are destroyed', async () => {
  const { rotation, store, run } = await prepared();
  await run('discardPendingKeys');
  expect(await store.generations(rotation)).toBeUndefined();
});

test('the before-images stay where the slot is gone and the files hold another key than the database is under', async () => {
  const { database, fence, rotation, run, loseSlot } = await prepared();
  const { rows } = await database.stage(transition, fence, silent, never);
  await database.swap(transition, masterKey, fence, silent);
  await loseSlot();
  await expect(run('destroyPreviousKeys')).rejects.toMatchObject({
    type: 'ChangedElsewhere',
    message: expect.stringMatching(
      /found no slot of rotation .*, and another key than the one that the database is under/,
    ) as string,
  });
  expect(await database.observe(rotation)).toEqual({ side: 'pending', staged: rows });
  await database.restore(transition, masterKey, await database.fence(rotation), silent);
  expect(await database.observe(rotation)).toMatchObject({ side: 'previous' });
});

test('an attempt after one that was killed when the slot was gone destroys the before-images', async () => {
  const { database, fence, rotation, store, run } = await prepared();
  const to = { label: 'pending salt key', key: new Secret(pendingSalt) };
  await database.stage({ ...transition, to }, fence, silent, never);
  await database.swap({ ...transition, to }, masterKey, fence, silent);
  await store.promote(rotation, fence);
  await store.discard(rotation, fence, 'pending');
  await run('destroyPreviousKeys');
  expect(await database.observe(rotation)).toEqual({ side: 'pending', staged: 0 });
});
