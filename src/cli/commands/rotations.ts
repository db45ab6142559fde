import type { Command } from 'commander';
import type { KeyName } from '../../rotation/keys.ts';
import {
  json,
  keys,
  noRehearse,
  parseCount,
  parseName,
  reason,
  rehearse,
  target,
  taskQueue,
  workflowId,
} from '../options.ts';

/** What begins a rotation, watches it, holds it up, and leads what is left of one to a side. */
export function addRotationCommands(program: Command): void {
  program
    .command('plan')
    .description('look at everything, say what a rotation would do, and change nothing')
    .addArgument(target)
    .addOption(keys)
    .addOption(rehearse)
    .addOption(noRehearse)
    .addOption(taskQueue)
    .addOption(json)
    .action(
      async (
        target: string,
        options: { keys?: readonly KeyName[]; rehearse?: boolean; taskQueue: string; json?: boolean },
      ) => {
        const { rotate } = await import('../rotate.ts');
        process.exitCode = await rotate(target, { ...options, dryRun: true });
      },
    );

  program
    .command('rotate')
    .description('rotate, and follow until it ends; Ctrl-C stops following, not the rotation')
    .addArgument(target)
    .addOption(keys)
    .addOption(reason)
    .addOption(rehearse)
    .addOption(noRehearse)
    .option('--workflow-id <id>', 'name the workflow yourself', parseName)
    .option('--dry-run', 'stop after the plan, as plan does')
    .option('--detach', 'start it and print its workflow id')
    .addOption(taskQueue)
    .addOption(json)
    .action(async (target: string, options: { keys?: readonly KeyName[]; taskQueue: string }) => {
      const { rotate } = await import('../rotate.ts');
      process.exitCode = await rotate(target, options);
    });

  program
    .command('status')
    .description('the last rotations, or one of them step by step')
    .argument('[workflow-id]', 'the one to show', parseName)
    .option('--follow', 'until it ends')
    .option('--limit <n>', 'how many to list', parseCount, 10)
    .addOption(json)
    .action(
      async (
        workflowId: string | undefined,
        options: { follow?: boolean; json?: boolean; limit: number },
      ) => {
        const { listRotations, showRotation } = await import('../status.ts');
        process.exitCode =
          workflowId === undefined ? await listRotations(options) : await showRotation(workflowId, options);
      },
    );

  program
    .command('pause')
    .description('let a rotation stand still before the outage, until it is continued')
    .addArgument(workflowId)
    .action(async (workflowId: string) => {
      const { pause } = await import('../pause.ts');
      process.exitCode = await pause(workflowId);
    });

  program
    .command('continue')
    .description('let a paused rotation go on from where it stopped')
    .addArgument(workflowId)
    .action(async (workflowId: string) => {
      const { goOn } = await import('../pause.ts');
      process.exitCode = await goOn(workflowId);
    });

  program
    .command('reconcile')
    .description('lead what a terminated rotation left behind to one side')
    .addArgument(target)
    .addOption(taskQueue)
    .addOption(json)
    .action(async (target: string, options: { taskQueue: string; json?: boolean }) => {
      const { reconcile } = await import('../reconcile.ts');
      process.exitCode = await reconcile(target, options);
    });
}
