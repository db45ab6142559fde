import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const ticksPerSecond = 100; // USER_HZ, the same on every Linux

/**
 * The CPU seconds that a Postgres server has used so far: the postmaster, its living children, and those that it has
 * reaped (proc(5), fields 14 to 17 of stat).
 */
export async function serverCpuSeconds(dataDirectory: string): Promise<number> {
  const [pid] = (await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8')).split('\n');
  const postmaster = await statOf(Number(pid));
  if (postmaster === undefined) throw new Error('the postmaster is gone');
  let ticks = postmaster.own + postmaster.reaped;
  for (const entry of await readdir('/proc')) {
    const child = /^\d+$/.test(entry) ? await statOf(Number(entry)) : undefined;
    if (child?.parent === Number(pid)) ticks += child.own;
  }
  return ticks / ticksPerSecond;
}

async function statOf(pid: number): Promise<{ parent: number; own: number; reaped: number } | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (stat === undefined) return undefined;
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const [parent, user, system, reapedUser, reapedSystem] = [1, 11, 12, 13, 14].map((at) => fields[at] ?? 0);
  return {
    parent: parent as number,
    own: (user as number) + (system as number),
    reaped: (reapedUser as number) + (reapedSystem as number),
  };
}
