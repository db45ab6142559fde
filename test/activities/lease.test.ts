import { describe, expect, test } from 'vitest';
import { createLeaseActivities } from '../../src/activities/lease.ts';
import type { Ports } from '../../src/activities/ports.ts';
import { begin, masterKey, never, silent, transition } from '../reencryption/database.ts';
import { useTestDatabase } from '../reencryption/database-hooks.ts';
import { newKeys } from '../secret-stores/store-fixture.ts';
import { fence, run, useDaemon } from './daemon.ts';

const lab = useTestDatabase();

const release = (ports: Ports, rotation: string): Promise<unknown> =>
  run(() => createLeaseActivities(ports).releaseLease({ target: 'prod', rotation }));

test('a lease that an earlier attempt releases while this one asks for it is released', async () => {
  const database = lab.rotationDatabase();
  const earlier = await begin(database);
  const raced = {
    ...database,
    lease: async () => {
      const lease = await database.lease();
      await database.releaseLease(earlier);
      return lease;
    },
  };
  const ports = { target: () => ({ database: raced }) } as unknown as Ports;
  expect(await release(ports, earlier.rotation)).toEqual({ released: false });
  expect(await database.lease()).toBeUndefined();
});

test('a lease that a later attempt may still release stays with it', async () => {
  const database = lab.rotationDatabase();
  const { rotation } = await begin(database);
  await database.fence(rotation, Date.now() + 3_600_000);
  const ports = { target: () => ({ database }) } as unknown as Ports;
  await expect(release(ports, rotation)).rejects.toMatchObject({ type: 'Overtaken' });
  expect(await database.lease()).toMatchObject({ rotation });
});

describe('the lease, as a rotation asks for it', () => {
  const rotation = 'r-1';
  const keys = 'LITELLM_MASTER_KEY=sk-previous-master\nLITELLM_SALT_KEY=sk-previous-salt\n';

  /** A target with the test's database; `take` asks as the rotation named does, while `open` workflows run. */
  async function useTarget() {
    const database = lab.rotationDatabase();
    const { target, ports } = await useDaemon(keys, { database });
    const take = (id = rotation, open: readonly string[] = []) => {
      const asked = { target: 'prod', rotation: id, workflowId: `of ${id}`, runId: id };
      const isRunning = (_: string, of: string) => Promise.resolve(open.includes(of));
      return run(() => createLeaseActivities({ ...ports, isRunning }).takeLease(asked));
    };
    return { database, store: target.store, take };
  }

  test('is taken, and taken again by the same one', async () => {
    const { database, take } = await useTarget();
    expect(await take()).toEqual({ unfinished: null, found: 'nothing' });
    expect(await take()).toEqual({ unfinished: null, found: 'nothing' });
    expect(await database.lease()).toMatchObject({ rotation, workflowId: 'of r-1' });
  });

  test('is refused while the workflow of its holder is open, which is named', async () => {
    const { database, take } = await useTarget();
    await take();
    await expect(take('r-2', ['r-1'])).rejects.toMatchObject({
      type: 'LeaseHeld',
      message: expect.stringMatching(
        /found rotation r-1 of target prod at work since .*"litellm-rotate status of r-1"/,
      ) as string,
    });
    expect(await database.lease()).toMatchObject({ rotation });
  });

  test('is not broken where that has ended: whose rotation it is, is told', async () => {
    const { database, take } = await useTarget();
    await take();
    expect(await take('r-2')).toEqual({ unfinished: 'r-1', found: 'nothing' });
    expect(await database.lease()).toMatchObject({ rotation });
  });

  test('is not led to one side as another target than its own: its files and its service are elsewhere', async () => {
    const { database, take } = await useTarget();
    await database.prepareJournal();
    await database.acquireLease({ rotation, target: 'staging', workflowId: 'w', runId: rotation });
    // Of a rotation that has changed nothing there is nothing to lead: its target may have another name now.
    expect(await take('r-2')).toEqual({ unfinished: 'r-1', found: 'nothing' });
    await database.stage(transition, await database.fence(rotation, Date.now()), silent, never);
    await expect(take('r-2')).rejects.toMatchObject({
      type: 'Refused',
      message: expect.stringMatching(
        /found what rotation r-1 of target staging left.*litellm-rotate reconcile staging; if/,
      ) as string,
    });
  });

  test('tells a workflow that was reset of its beginning, and of its end', async () => {
    const { database, store, take } = await useTarget();
    await take();
    await store.prepare(rotation, { ...fence, rotation }, newKeys);
    expect(await take()).toMatchObject({ found: 'a beginning' });
    const held = await database.fence(rotation, Date.now());
    await database.stage(transition, held, silent, never);
    await database.swap(transition, masterKey, held, silent);
    expect(await take()).toMatchObject({ found: 'a beginning' });
    await store.promote(rotation, { ...fence, rotation });
    await store.discard(rotation, { ...fence, rotation }, 'pending');
    expect(await take()).toMatchObject({ found: 'an end' });
  });
});
