import type { Command } from 'commander';
import type { KeyName } from '../../rotation/keys.ts';
import { json, keys, parseInterval, reason, target, taskQueue } from '../options.ts';

/** Rotations that begin by themselves. */
export function addScheduleCommands(program: Command): void {
  const schedule = program.command('schedule').description('rotate every so often');
  schedule
    .command('create')
    .description('rotate a target every so often, first after one such time')
    .addArgument(target)
    .requiredOption('--every <time>', 'such as 90d', parseInterval)
    .addOption(keys)
    .addOption(reason)
    .addOption(taskQueue)
    .action(
      async (target: string, options: { every: number; keys?: readonly KeyName[]; taskQueue: string }) => {
        const { createSchedule } = await import('../schedule.ts');
        process.exitCode = await createSchedule(target, options);
      },
    );
  schedule
    .command('list')
    .description('every schedule, with its next rotation')
    .addOption(json)
    .action(async (options: { json?: boolean }) => {
      const { listSchedules } = await import('../schedule.ts');
      process.exitCode = await listSchedules(options);
    });
  schedule
    .command('trigger')
    .description('rotate now, beside the times of the schedule')
    .addArgument(target)
    .action(async (target: string) => {
      const { triggerSchedule } = await import('../schedule.ts');
      process.exitCode = await triggerSchedule(target);
    });
  schedule
    .command('delete')
    .description('end a schedule; a rotation that runs goes on')
    .addArgument(target)
    .action(async (target: string) => {
      const { deleteSchedule } = await import('../schedule.ts');
      process.exitCode = await deleteSchedule(target);
    });
}
