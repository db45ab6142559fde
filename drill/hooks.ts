import childProcess from 'node:child_process';
import fileSystem from 'node:fs/promises';
import { flushCompileCache, syncBuiltinESMExports } from 'node:module';
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { Worker, type WorkerOptions } from '@temporalio/worker';
import pg from 'pg';
import { createTrigger, type Trigger } from './trigger.ts';

type AnyFunction = (...args: unknown[]) => unknown;

/** A failure that no retry policy tries again, whatever the adapters make of it on its way. */
const forGood = (): ApplicationFailure =>
  ApplicationFailure.nonRetryable('the drill made this activity fail for good', 'DrilledFailure');

/**
 * Puts points into a worker that knows nothing of them: around each activity, and, while one runs, in front of each
 * statement that writes or locks, each change of a file, each program and each POST. Reads have none: a kill between two
 * reads leaves what a kill in front of the first one leaves.
 */
export function injectInto(directory: string): void {
  const trigger = createTrigger(directory);
  patchWorker(trigger);
  patchPostgres(trigger);
  patchFiles(trigger);
  patchPrograms(trigger);
  patchFetch(trigger);
  syncBuiltinESMExports();
}

/** The name of what the running activity does, or undefined outside of activities. */
function inActivity(): { readonly type: string; readonly id: string; readonly attempt: number } | undefined {
  try {
    const { activityType, activityId, attempt } = Context.current().info;
    return { type: activityType, id: activityId, attempt };
  } catch {
    return undefined;
  }
}

function patchWorker(trigger: Trigger): void {
  const create = Worker.create.bind(Worker);
  Worker.create = (options: WorkerOptions) => {
    // Everything is loaded, and a worker that is killed would not write it.
    flushCompileCache();
    const wrapped = Object.entries(options.activities ?? {}).map(([name, activity]) => [
      name,
      async (...args: unknown[]) => {
        const info = inActivity();
        if (info === undefined) throw new Error('an activity has no context');
        const moment = (word: string) => trigger.at(info, word);
        if (moment('start') === 'fail') throw forGood();
        try {
          const result: unknown = await (activity as AnyFunction)(...args);
          if (moment('end') === 'fail' || trigger.hasFailed(info)) throw forGood();
          return result;
        } catch (error) {
          throw trigger.hasFailed(info) ? forGood() : error;
        }
      },
    ]);
    return create({ ...options, activities: Object.fromEntries(wrapped) as object });
  };
}

const writes =
  /^\s*(with fence|insert|update|delete|truncate|create|alter|lock|commit\s*$|begin isolation level read committed|analyze|select pg_(advisory|terminate))|for (update|share)/i;

function patchPostgres(trigger: Trigger): void {
  const query = Reflect.get(pg.Client.prototype, 'query') as AnyFunction;
  const patched = function (this: pg.Client, ...args: unknown[]): unknown {
    const [first] = args;
    const text = typeof first === 'string' ? first : ((first as { text?: string } | null)?.text ?? '');
    const info = inActivity();
    if (info === undefined || !writes.test(text)) return query.apply(this, args);
    const moment = trigger.next(info, 'sql');
    if (trigger.at(info, moment) === 'fail') return Promise.reject(new Error('drill'));
    const answer = query.apply(this, args) as Promise<unknown>;
    if (!/^\s*commit\s*$/i.test(text)) return answer;
    // The commit is done, and its answer lost on the way: the hardest moment of all.
    return answer.then((result) => {
      const fault = trigger.at(info, `${moment}:answered`);
      if (fault === 'postgres' || fault === 'fail') throw new Error('Connection terminated unexpectedly');
      return result;
    });
  };
  pg.Client.prototype.query = patched as unknown as typeof pg.Client.prototype.query;
}

const changes = ['rename', 'link', 'unlink', 'mkdir', 'rmdir'] as const;
const handleChanges = ['writeFile', 'chmod', 'chown', 'sync'] as const;

function patchFiles(trigger: Trigger): void {
  const passes = (name: string): void => {
    const info = inActivity();
    if (info === undefined) return;
    if (trigger.at(info, trigger.next(info, 'file')) === 'fail')
      throw Object.assign(new Error(`drill: ${name}`), { code: 'EIO' });
  };
  const patch = (of: Record<string, AnyFunction>, name: string): void => {
    const original = of[name] as AnyFunction;
    of[name] = async function (this: unknown, ...args: unknown[]) {
      passes(name);
      return original.apply(this, args);
    };
  };
  const functions = fileSystem as unknown as Record<string, AnyFunction>;
  for (const name of changes) patch(functions, name);
  const openFile = fileSystem.open;
  functions['open'] = async (...args: unknown[]) => {
    const [, flags] = args;
    if (flags === 'wx') passes('open');
    const handle = await openFile(...(args as Parameters<typeof openFile>));
    if (inActivity() !== undefined)
      for (const name of handleChanges) patch(handle as unknown as Record<string, AnyFunction>, name);
    return handle;
  };
}

function patchPrograms(trigger: Trigger): void {
  const { spawn } = childProcess;
  const patched = (...args: unknown[]): unknown => {
    const info = inActivity();
    if (info !== undefined && trigger.at(info, trigger.next(info, 'spawn')) === 'fail')
      throw Object.assign(new Error('drill'), { code: 'EAGAIN' });
    return (spawn as AnyFunction)(...args);
  };
  childProcess.spawn = patched as typeof spawn;
}

function patchFetch(trigger: Trigger): void {
  const { fetch } = globalThis;
  globalThis.fetch = async (input, init) => {
    const info = init?.method === 'POST' ? inActivity() : undefined;
    if (info === undefined) return fetch(input, init);
    const moment = trigger.next(info, 'http');
    if (trigger.at(info, moment) === 'fail') throw new TypeError('drill');
    const answer = await fetch(input, init);
    if (trigger.at(info, `${moment}:answered`) === 'fail') throw new TypeError('drill');
    return answer;
  };
}
