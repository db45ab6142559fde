import { readdir, readFile } from 'node:fs/promises';
import { parseEnviron, unreadableEnvironment } from './process-environment.ts';
import type { ProcessEnvironment } from './process-environment.ts';

/** One start of a process; a pid alone is given to another process later. */
export interface ProcessId {
  readonly pid: number;
  /** Clock ticks since boot: field 22 of /proc/PID/stat (proc_pid_stat(5)). */
  readonly startTicks: number;
}

interface ProcessStat extends ProcessId {
  readonly parent: number;
  /** Dead, with only its exit status left: it holds no file, socket or memory. */
  readonly isZombie: boolean;
}

/** The process that has this pid now; undefined when there is none, or only a zombie. */
export async function processWithPid(pid: number): Promise<ProcessId | undefined> {
  const stat = await readStat(pid);
  return stat === undefined || stat.isZombie ? undefined : { pid, startTicks: stat.startTicks };
}

export async function isAlive({ pid, startTicks }: ProcessId): Promise<boolean> {
  return (await processWithPid(pid))?.startTicks === startTicks;
}

/** A process and all that it has started and that has not been given to another parent. */
export async function withDescendants(root: ProcessId): Promise<readonly ProcessId[]> {
  const pids = await allPids();
  const table = (await Promise.all(pids.map(readStat))).filter((stat) => stat !== undefined);
  const family: ProcessStat[] = table.filter(
    ({ pid, startTicks }) => pid === root.pid && startTicks === root.startTicks,
  );
  for (const member of family) family.push(...table.filter(({ parent }) => parent === member.pid));
  return family.filter(({ isZombie }) => !isZombie).map(({ pid, startTicks }) => ({ pid, startTicks }));
}

/** The environment that a process was started with; undefined when it has ended. */
export async function environmentOf(process: ProcessId): Promise<ProcessEnvironment | undefined> {
  try {
    const environment = parseEnviron(await readFile(`/proc/${process.pid}/environ`));
    // The pid may have been another process when it was read.
    return (await isAlive(process)) ? environment : undefined;
  } catch (error) {
    return isGone(error) ? undefined : unreadableEnvironment;
  }
}

/** Every process of this user's that was started with this value of a variable. */
export async function processesGiven(name: string, value: string): Promise<readonly ProcessId[]> {
  const found: ProcessId[] = [];
  for (const pid of await allPids().catch(() => [])) {
    const process = await processWithPid(pid);
    if (process === undefined) continue;
    const environment = await environmentOf(process);
    if (environment?.values.get(name) === value) found.push(process);
  }
  return found;
}

async function allPids(): Promise<readonly number[]> {
  return (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
}

/** Whether a read below /proc/PID failed because the process has ended. */
export function isGone(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOENT' || code === 'ESRCH';
}

async function readStat(pid: number): Promise<ProcessStat | undefined> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The second field is the name in parentheses, which may hold spaces and parentheses itself.
  const [state, parent, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return {
    pid,
    parent: Number(parent),
    startTicks: Number(rest[17]),
    isZombie: state === 'Z' || state === 'X',
  };
}
