import type { Command } from 'commander';
import type { KeyName } from '../../rotation/keys.ts';
import { json, keys, parseInterval, reason, taskQueue } from '../options.ts';

/** Rotations that begin by themselves. */
export function addScheduleCommands(program: Command): void {
  const schedule = program.command('schedule').description('rotate every so often');
  schedule
    .command('create')
    .argument('<target>')
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
    .addOption(json)
    .action(async (options: { json?: boolean }) => {
      const { listSchedules } = await import('../schedule.ts');
      process.exitCode = await listSchedules(options);
    });
  schedule
    .command('trigger')
    .argument('<target>')
    .action(async (target: string) => {
      const { triggerSchedule } = await import('../schedule.ts');
      process.exitCode = await triggerSchedule(target);
    });
  schedule
    .command('delete')
    .argument('<target>')
    .action(async (target: string) => {
      const { deleteSchedule } = await import('../schedule.ts');
      process.exitCode = await deleteSchedule(target);
    });
}
