import { beforeEach, expect, test } from 'vitest';
import type { RotationDatabase } from '../../src/reencryption/port.ts';
import { finalFailures } from '../../src/rotation/failure.ts';
import { begin } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();
let database: RotationDatabase;
const holder = (rotation: string) => ({
  rotation,
  target: 'prod',
  workflowId: `workflow-${rotation}`,
  runId: 'run',
});

beforeEach(() => {
  database = lab.rotationDatabase();
});

test('workers that prepare the journal at once make one, and its random bytes are made once', async () => {
  const others = Array.from({ length: 6 }, () => lab.rotationDatabase());
  await Promise.all([database, ...others].map((each) => each.prepareJournal()));
  await database.prepareJournal();
  const keys = await Promise.all(
    others.map(async (each) => Buffer.from(await each.fingerprintKey()).toString('hex')),
  );
  expect(new Set(keys).size).toBe(1);
  expect(keys[0]).toMatch(/^[0-9a-f]{64}$/);
});

test('a journal of a newer release is refused', async () => {
  await database.prepareJournal();
  await lab.client.query('insert into litellm_rotate.version (version) values (1000)');
  await expect(database.prepareJournal()).rejects.toMatchObject({ type: 'Refused' });
});

test('of rotations that want the lease at once, one gets it, and the others learn who', async () => {
  await database.prepareJournal();
  const names = ['a', 'b', 'c', 'd', 'e'];
  const answers = await Promise.all(names.map((name) => lab.rotationDatabase().acquireLease(holder(name))));
  const won = answers.filter(({ acquired }) => acquired);
  expect(won).toHaveLength(1);
  for (const answer of answers) expect(answer.holder).toEqual(won[0]?.holder);
  expect(await database.lease()).toEqual(won[0]?.holder);
});

test("the holder's own rotation gets the lease again, with the time of the first", async () => {
  await database.prepareJournal();
  const first = await database.acquireLease(holder('a'));
  const again = await database.acquireLease({ ...holder('a'), runId: 'another run' });
  expect(again).toEqual({ acquired: true, holder: { ...first.holder, runId: 'another run' } });
});

test('tokens only ever grow, from holder to holder', async () => {
  const first = await begin(database, 'a');
  const second = await database.fence('a');
  expect(second.token).toBeGreaterThan(first.token);
  await expect(first.assert()).rejects.toMatchObject({ type: 'FencedOut' });
  await second.assert();
  await expect(database.fence('b')).rejects.toMatchObject({
    type: 'FencedOut',
    message: expect.stringContaining('workflow w-a'),
  });
  await database.releaseLease(second);
  await database.releaseLease(second);
  expect(await database.lease()).toBeUndefined();
  const third = await begin(database, 'b');
  expect(third.token).toBeGreaterThan(second.token);
  await expect(database.releaseLease(second)).rejects.toMatchObject({ type: 'FencedOut' });
});

test('an attempt that was scheduled before the newest one, and begins after it, gets no token; by a clock that was set back it may be the newest, so it is tried again', async () => {
  await begin(database, 'a');
  const at = Date.now() + 60_000;
  const newest = await database.fence('a', at);
  await expect(database.fence('a', at - 1)).rejects.toMatchObject({ type: 'Overtaken' });
  expect(finalFailures).not.toContain('Overtaken');
  await newest.assert();
  const caughtUp = await database.fence('a', at + 1);
  await database.releaseLease(caughtUp);
  // Another rotation's attempts are not held against it.
  await begin(database, 'b');
});

test('a database without a journal has no lease and is on the previous side', async () => {
  expect(await database.lease()).toBeUndefined();
  expect(await database.observe('r-1')).toEqual({ side: 'previous', staged: 0 });
});

test('plan and evidence are kept with the rotation', async () => {
  const fence = await begin(database);
  await database.record(fence, 'plan', { values: 3 });
  await database.record(fence, 'plan', { values: 4 });
  await database.record(fence, 'evidence', { ok: true });
  const { rows } = await lab.client.query('select plan, evidence from litellm_rotate.rotation');
  expect(rows).toEqual([{ plan: { values: 4 }, evidence: { ok: true } }]);
});
