import { appendFileSync, existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Fault, files, type Injection } from './injection.ts';

interface ActivityInfo {
  readonly type: string;
  readonly id: string;
  readonly attempt: number;
}

/** Counts the moments of each activity, and lets a fault happen where the plan of the run says so, once. */
export interface Trigger {
  /** The next moment of its kind in this attempt: `sql:1`, `sql:2`, ... */
  next(info: ActivityInfo, kind: string): string;
  /** Notes that a moment has come. Returns the fault that has just happened, if the process has survived it. */
  at(info: ActivityInfo, moment: string): Fault | undefined;
  /** Whether this attempt was told to fail for good. */
  hasFailed(info: ActivityInfo): boolean;
}

/** How long the controller may take to restart a server. */
const patienceMs = 120_000;

export function createTrigger(directory: string): Trigger {
  const injections = JSON.parse(readFileSync(join(directory, files.plan), 'utf8')) as readonly Injection[];
  const counts = new Map<string, number>();
  const executions = new Map<string, string[]>();
  const failed = new Set<string>();
  const attemptOf = ({ type, id, attempt }: ActivityInfo): string => `${type} ${id} ${attempt}`;
  const hasFired = (n: number): boolean => existsSync(join(directory, files.fired(n)));

  /** Executions are counted anew on the way back, so that `undo startService#1` is the first one of the rollback. */
  const nameOf = (info: ActivityInfo): string => {
    const back = injections[0]?.fault === 'fail' && hasFired(0);
    const name = `${back ? 'undo ' : ''}${info.type}`;
    const seen = executions.get(name) ?? [];
    if (!seen.includes(info.id)) executions.set(name, [...seen, info.id]);
    const before = executions.get(info.type) ?? [];
    // An activity that began on the way forward keeps its name.
    if (back && before.includes(info.id)) return `${info.type}#${before.indexOf(info.id) + 1}`;
    return `${name}#${(executions.get(name) ?? []).indexOf(info.id) + 1}`;
  };

  return {
    next(info, kind) {
      const key = `${attemptOf(info)} ${kind}`;
      const count = (counts.get(key) ?? 0) + 1;
      counts.set(key, count);
      return `${kind}:${count}`;
    },
    at(info, moment) {
      const point = `${nameOf(info)}:${moment}`;
      const line = { point, pid: process.pid, attempt: info.attempt };
      appendFileSync(join(directory, files.record), `${JSON.stringify(line)}\n`);
      const n = injections.findIndex((injection, at) => injection.point === point && !hasFired(at));
      const injection = injections[n];
      if (injection === undefined || (n > 0 && !hasFired(n - 1))) return undefined;
      if (injection.fault === 'fail') failed.add(attemptOf(info));
      fire(join(directory, files.fired(n)), JSON.stringify(line));
      happen(injection.fault, join(directory, files.done(n)));
      return injection.fault;
    },
    hasFailed: (info) => failed.has(attemptOf(info)),
  };
}

/** Whole at once, as the drill looks for the file all the while; an error when another worker has been here. */
function fire(path: string, text: string): void {
  const own = `${path}.${process.pid}`;
  writeFileSync(own, text);
  linkSync(own, path);
  rmSync(own);
}

/** Returns when the fault is over; the event loop stands still meanwhile, so that nothing else slips by. */
function happen(fault: Fault, done: string): void {
  switch (fault) {
    case 'fail':
      return;
    case 'kill':
      process.kill(process.pid, 'SIGKILL');
      break;
    case 'zombie beside':
    case 'zombie late':
      process.kill(process.pid, 'SIGSTOP');
      break;
    case 'postgres':
    case 'temporal':
    case 'cancel':
    case 'terminate':
    case 'second':
      break;
    default:
      fault satisfies never;
  }
  for (const deadline = Date.now() + patienceMs; !existsSync(done);) {
    if (Date.now() > deadline) throw new Error(`nobody has made ${done}`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  }
}
