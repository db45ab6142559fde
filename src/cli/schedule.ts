import {
  ScheduleAlreadyRunning,
  type ScheduleDescription,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
} from '@temporalio/client';
import type { KeyName } from '../rotation/keys.ts';
import { parseRequest } from '../rotation/request.ts';
import { workflowTaskTimeout, workflowTypes } from '../workflows/messages.ts';
import { CommandError, exitCodes } from './exit.ts';
import { printable } from './printable.ts';
import { table } from './rendering.ts';
import { withClient } from './temporal-client.ts';

const scheduleId = (target: string) => `rotate-${target}`;

export interface ScheduleOptions {
  /** Milliseconds. */
  readonly every: number;
  readonly keys?: readonly KeyName[];
  readonly taskQueue: string;
  readonly reason?: string;
}

/** `schedule create TARGET --every 90d`: first in 90 days from now, then every 90 days. */
export async function createSchedule(target: string, options: ScheduleOptions): Promise<number> {
  const { every, keys, taskQueue, reason } = options;
  const input = {
    target,
    ...(keys === undefined ? {} : { keys }),
    requestedBy: 'schedule',
    ...(reason === undefined ? {} : { reason }),
  };
  // What makes no sense is refused here, not when the first rotation is due.
  parseRequest([input]);
  return withClient(async (client) => {
    // Intervals count from the epoch, not from now; the offset makes the first one a whole interval away.
    const offset = Date.now() % every;
    try {
      await client.schedule.create({
        scheduleId: scheduleId(target),
        spec: { intervals: [{ every, offset }] },
        policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 day', pauseOnFailure: true },
        action: {
          type: 'startWorkflow',
          workflowType: workflowTypes.rotate,
          workflowId: scheduleId(target),
          taskQueue,
          workflowTaskTimeout,
          args: [input],
          staticSummary: `Rotate the keys of ${target}, by schedule`,
        },
      });
    } catch (error) {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
      throw new CommandError(exitCodes.finding, `schedule ${scheduleId(target)}: found one already`, [
        `litellm-rotate schedule delete ${target}   (then create it anew)`,
      ]);
    }
    const { info } = await client.schedule.getHandle(scheduleId(target)).describe();
    process.stdout.write(
      `schedule ${scheduleId(target)} created; the first rotation is at ${info.nextActionTimes[0]?.toISOString() ?? 'an unknown time'}\n  next: litellm-rotate plan ${target}   (says today what would stop it then)\n`,
    );
    return exitCodes.done;
  });
}

/** `schedule list`: every schedule of this tool. */
export async function listSchedules(options: { json?: boolean }): Promise<number> {
  return withClient(async (client) => {
    const found: { schedule: string; next: string; paused: boolean; last: string }[] = [];
    for await (const { scheduleId: id, info, state, action } of client.schedule.list()) {
      if (action?.workflowType !== workflowTypes.rotate) continue;
      found.push({
        schedule: id,
        next: info?.nextActionTimes[0]?.toISOString() ?? '-',
        paused: state.paused,
        last: info?.recentActions.at(-1)?.action.workflow.workflowId ?? '-',
      });
    }
    if (options.json === true) process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
    else if (found.length === 0)
      process.stdout.write(
        'no schedule yet; make one with: litellm-rotate schedule create TARGET --every 90d\n',
      );
    else {
      const rows = printable(found).map(({ schedule, next, paused, last }) => [
        schedule,
        paused ? 'paused' : next,
        last,
      ]);
      process.stdout.write(`${table([['SCHEDULE', 'NEXT', 'LAST WORKFLOW'], ...rows]).join('\n')}\n`);
    }
    return exitCodes.done;
  });
}

/** `schedule delete TARGET`. A rotation that runs goes on. */
export async function deleteSchedule(target: string): Promise<number> {
  return withSchedule(target, async (handle) => {
    await handle.delete();
    process.stdout.write(`schedule ${scheduleId(target)} deleted\n`);
  });
}

/** `schedule trigger TARGET`: one rotation now, beside the schedule's own times. */
export async function triggerSchedule(target: string): Promise<number> {
  return withSchedule(target, async (handle) => {
    const [running] = (await handle.describe()).info.runningActions;
    if (running !== undefined)
      throw new CommandError(
        exitCodes.finding,
        `schedule ${scheduleId(target)}: found its rotation ${running.workflow.workflowId} at work; expected none, as one is not started beside another`,
        [`litellm-rotate status ${running.workflow.workflowId} --follow`],
      );
    await handle.trigger(ScheduleOverlapPolicy.SKIP);
    process.stdout.write('triggered; follow it with: litellm-rotate status\n');
  });
}

async function withSchedule(
  target: string,
  work: (handle: {
    delete(): Promise<void>;
    trigger(overlap?: ScheduleOverlapPolicy): Promise<void>;
    describe(): Promise<ScheduleDescription>;
  }) => Promise<void>,
): Promise<number> {
  return withClient(async (client) => {
    try {
      await work(client.schedule.getHandle(scheduleId(target)));
      return exitCodes.done;
    } catch (error) {
      if (!(error instanceof ScheduleNotFoundError)) throw error;
      throw new CommandError(exitCodes.usage, `schedule ${scheduleId(target)}: found none`, [
        'litellm-rotate schedule list',
      ]);
    }
  });
}
