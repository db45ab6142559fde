import { describe, expect, test } from 'vitest';
import { begin, masterKey, never, silent, transition } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();

/** Swaps and keeps the evidence, as the workflow does. */
async function rotate(rotation: string, evidence: object): Promise<void> {
  const database = lab.rotationDatabase();
  const fence = await begin(database, rotation);
  await database.stage(transition, fence, silent, never);
  await database.swap(transition, masterKey, fence, silent);
  await database.record(fence, 'evidence', evidence);
  await database.dropStaged(fence, 'pending');
  await database.releaseLease(fence);
}

const evidence = { outageParts: { restartMs: 12_500, swapMs: 800 }, reencrypted: { values: 143, rows: 57 } };

describe('the last outage', () => {
  test('is none in a database without a journal, without a rotation, and while the first one is under way', async () => {
    const database = lab.rotationDatabase();
    expect(await database.lastOutage()).toBeNull();
    const fence = await begin(database);
    expect(await database.lastOutage()).toBeNull();
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    expect(await database.lastOutage()).toBeNull();
  });

  test('is that of the last rotation whose evidence has one; interrupted ones and older releases are passed over', async () => {
    await rotate('r-1', { ...evidence, outageParts: { restartMs: 99, swapMs: 9 } });
    await rotate('r-2', evidence);
    await rotate('r-3', { ...evidence, outageParts: null });
    await rotate('r-4', { outageMs: 77_000 });
    expect(await lab.rotationDatabase().lastOutage()).toEqual({
      at: expect.stringMatching(/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      restartMs: 12_500,
      swapMs: 800,
      values: 143,
    });
  });

  test('is not taken from evidence that somebody else has written, which every later plan would fail on', async () => {
    await rotate('r-1', evidence);
    await rotate('r-2', { ...evidence, outageParts: { restartMs: 'long', swapMs: 9 } });
    await rotate('r-3', { ...evidence, outageParts: { restartMs: 99, swapMs: [9] } });
    expect(await lab.rotationDatabase().lastOutage()).toMatchObject({ restartMs: 12_500 });
    await rotate('r-4', { ...evidence, reencrypted: { values: 'all' } });
    expect(await lab.rotationDatabase().lastOutage()).toMatchObject({ restartMs: 12_500, values: 0 });
  });

  test('of a rotation that swapped nothing has no values', async () => {
    await rotate('r-1', { ...evidence, reencrypted: null });
    expect(await lab.rotationDatabase().lastOutage()).toMatchObject({ restartMs: 12_500, values: 0 });
  });
});
