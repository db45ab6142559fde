import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dump, failure, never } from '../reencryption/database.ts';
import { useTestDatabase } from '../reencryption/database-hooks.ts';
import { cannotDump } from './dump-programs.ts';
import { fenceOf, rehearsalOf } from './rehearsal-of.ts';

// Mounting a file system takes root.
const possible = process.getuid?.() === 0 && (await cannotDump()) === undefined;
const small = mkdtempSync(join(tmpdir(), 'litellm-rotate-small-'));
// Hooks of the end run in reverse: Postgres is gone from the small disk by then.
afterAll(() => {
  if (possible) execFileSync('umount', [small]);
  rmSync(small, { recursive: true });
});
const lab = useTestDatabase();
beforeAll(() => {
  const { uid, gid } = statSync(lab.server.dataDirectory);
  if (possible)
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=2m,mode=700,uid=${uid},gid=${gid}`, 'small', small]);
});

test.runIf(possible)(
  'a clone that fills the disk is dropped at once, and not tried again: others may write to that disk',
  async () => {
    await lab.client.query(
      `insert into "LiteLLM_Config" select i, to_jsonb(repeat(md5(i::text), 20)) from generate_series(1, 10000) i`,
    );
    const before = await dump(lab.client);
    await lab.client.query(`create tablespace small location '${small}'`);
    await lab.client.query('alter role postgres set default_tablespace = small');
    const rehearsal = rehearsalOf(lab.url, { clone: 'dump' });
    const error = await failure(rehearsal.clone(fenceOf('r1'), never));
    expect(error.message).toMatch(/^pg_restore ended with 1: No space left on device/);
    expect(await rehearsal.exists('r1')).toBe(false);
    expect(error).toMatchObject({ type: 'Refused' });
    expect(await dump(lab.client)).toEqual(before);
    await rehearsal.destroy('r1');
    await rehearsal.close();
  },
);
