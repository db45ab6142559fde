import type { Command } from 'commander';
import type { UpgradeFormat } from '../../rotation/reencryption.ts';
import { json, target, taskQueue, upgradeFormat } from '../options.ts';

/** What looks at stored values, or seals them anew under the key that they have. */
export function addValueCommands(program: Command): void {
  program
    .command('inventory')
    .description('count every sealed value by table, column, key and format; change nothing')
    .addArgument(target)
    .option('--rows', 'list the primary keys of the rows that hold them, too')
    .addOption(taskQueue)
    .addOption(json)
    .action(async (target: string, options: { rows?: boolean; taskQueue: string; json?: boolean }) => {
      const { inventory } = await import('../inventory.ts');
      process.exitCode = await inventory(target, options);
    });

  program
    .command('reencrypt')
    .description('seal stored values anew under the same key, while LiteLLM serves')
    .addArgument(target)
    .addOption(upgradeFormat)
    .option('--repair-sealed-twice', 'seal values once that were sealed twice; needs --plan')
    .option('--plan <digest>', 'the plan of a dry run that you have read and approve')
    .option('--dry-run', 'show what would be sealed anew, with its digest, and change nothing')
    .addOption(taskQueue)
    .addOption(json)
    .action(
      async (
        target: string,
        options: {
          upgradeFormat?: UpgradeFormat;
          repairSealedTwice?: boolean;
          plan?: string;
          dryRun?: boolean;
          taskQueue: string;
          json?: boolean;
        },
      ) => {
        const { reencrypt } = await import('../reencrypt.ts');
        process.exitCode = await reencrypt(target, options);
      },
    );
}
