import { MockActivityEnvironment } from '@temporalio/testing';
import { expect, test } from 'vitest';
import { createLeaseActivities } from '../../src/activities/lease.ts';
import type { Ports } from '../../src/activities/ports.ts';
import { begin } from '../reencryption/database.ts';
import { useTestDatabase } from '../reencryption/database-hooks.ts';

const lab = useTestDatabase();

const release = (ports: Ports, rotation: string): Promise<unknown> =>
  new MockActivityEnvironment().run(() =>
    createLeaseActivities(ports).releaseLease({ target: 'prod', rotation }),
  );

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
  await expect(release(ports, rotation)).rejects.toMatchObject({ type: 'FencedOut' });
  expect(await database.lease()).toMatchObject({ rotation });
});
