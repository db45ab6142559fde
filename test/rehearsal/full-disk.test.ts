import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createRehearsalActivities } from '../../src/activities/rehearsal.ts';
import type { Ports } from '../../src/activities/ports.ts';
import { withClient } from '../../lab/postgres.ts';
import { dump, failure, fillModels, masterKey, never, pending, previous } from '../reencryption/database.ts';
import { useTestDatabase } from '../reencryption/database-hooks.ts';
import { cannotDump } from './dump-programs.ts';
import { fenceOf, rehearsalOf } from './rehearsal-of.ts';

// Mounting a file system takes root.
const isRoot = process.getuid?.() === 0;
const possible = isRoot && (await cannotDump()) === undefined;
const small = mkdtempSync(join(tmpdir(), 'litellm-rotate-small-'));
// Hooks of the end run in reverse: Postgres is gone from the small disk by then.
afterAll(() => {
  if (isRoot) execFileSync('umount', [small]);
  rmSync(small, { recursive: true });
});
const lab = useTestDatabase();
beforeAll(async () => {
  const { uid, gid } = statSync(lab.server.dataDirectory);
  if (!isRoot) return;
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=2m,mode=700,uid=${uid},gid=${gid}`, 'small', small]);
  await withClient(lab.server.adminUrl, (admin) =>
    admin.query(`create tablespace small location '${small}'`),
  );
});

/** The file system that holds the tablespace `small`. */
const resize = (kilobytes: number) => execFileSync('mount', ['-o', `remount,size=${kilobytes}k`, small]);
const usedKilobytes = () => {
  const { blocks, bfree, bsize } = statfsSync(small);
  return ((blocks - bfree) * bsize) / 1024;
};

/** The database under test, on a disk where it takes all but `free` kilobytes; closed, so that it can be a template. */
async function onSmallDisk(free: number): Promise<string> {
  const name = new URL(lab.url).pathname.slice(1);
  resize(200_000);
  await lab.client.end();
  await withClient(lab.server.adminUrl, (admin) =>
    admin.query(`alter database ${name} set tablespace small`),
  );
  resize(usedKilobytes() + free);
  return lab.server.url(name);
}
const tooLarge = {
  type: 'Refused',
  message: expect.stringMatching(
    /disk of Postgres is full \(53100 disk_full\), with \d+ [kM]B in .* expected room for a clone of that size/,
  ) as string,
};

test.runIf(possible)(
  'a clone that fills the disk is dropped at once, and not tried again: others may write to that disk',
  async () => {
    await lab.client.query(
      `insert into "LiteLLM_Config" select i, to_jsonb(repeat(md5(i::text), 20)) from generate_series(1, 10000) i`,
    );
    const before = await dump(lab.client);
    await lab.client.query('alter role postgres set default_tablespace = small');
    const rehearsal = rehearsalOf(lab.url, { clone: 'dump' });
    const error = await failure(rehearsal.clone(fenceOf('r1'), never));
    expect(error.message).toMatch(/^pg_restore ended with 1: No space left on device/);
    expect(await rehearsal.exists('r1')).toBe(false);
    expect(error).toMatchObject({ type: 'Refused' });
    expect(await dump(lab.client)).toEqual(before);
    await rehearsal.destroy('r1');
    await rehearsal.close();
    await lab.client.query('alter role postgres reset default_tablespace');
  },
);

test.runIf(isRoot)('a template that does not fit twice is copied once, and no try more', async () => {
  const rehearsal = rehearsalOf(await onSmallDisk(1_000), { clone: 'template' });
  await expect(rehearsal.clone(fenceOf('r1'), never)).rejects.toMatchObject(tooLarge);
  expect(await rehearsal.exists('r1')).toBe(false);
  await rehearsal.close();
});

test.runIf(isRoot)(
  "a disk that the clone's own stage fills ends the rehearsal at the first attempt",
  async () => {
    await fillModels(lab.client, 8_000);
    const rehearsal = rehearsalOf(await onSmallDisk(100_000), { clone: 'template' });
    expect(await rehearsal.clone(fenceOf('r1'), never)).toBe('template');
    resize(usedKilobytes() + 1_000);
    const generations = {
      previous: { master: masterKey.from, salt: previous.key },
      pending: { master: masterKey.to, salt: pending.key },
    };
    const target = { rehearsal, knownKeys: [], store: { generations: async () => generations } };
    const activities = createRehearsalActivities({ target: () => target } as unknown as Ports);
    const rotate = () => activities.rotateClone({ target: 'prod', rotation: 'r1', expected: 8_143 });
    await expect(new MockActivityEnvironment().run(rotate)).rejects.toMatchObject(tooLarge);
    await rehearsal.destroy('r1');
    await rehearsal.close();
  },
);
