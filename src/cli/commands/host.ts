import type { Command } from 'commander';
import { config, json } from '../options.ts';

/** What runs where it is called: the worker, a look at all that it needs, and the guard in front of LiteLLM. */
export function addHostCommands(program: Command): void {
  program
    .command('worker')
    .description('run the worker, until SIGTERM')
    .addOption(config)
    .action(async (options: { config?: string }) => {
      const { runWorker } = await import('../../worker.ts');
      await runWorker(process.env, options.config);
    });

  program
    .command('doctor')
    .description("look at every part from here, with the worker's configuration; change nothing")
    .addOption(config)
    .addOption(json)
    .action(async (options: { config?: string; json?: boolean }) => {
      const { compose } = await import('../../composition.ts');
      const { readConfig } = await import('../../config/config.ts');
      const { findConfig } = await import('../../config/location.ts');
      const { doctor } = await import('../doctor.ts');
      const settings = readConfig(findConfig(options.config, process.env));
      await using composition = compose(settings, process.env, () => Promise.resolve(false));
      process.exitCode = await doctor(composition, settings.taskQueue, options);
    });

  program
    .command('guard')
    .description(
      'refuse to start LiteLLM with a key that cannot open its database (for ExecStartPre=, or in front of a command)',
    )
    .argument('[command...]', 'run this when the key opens, in place of this process')
    .option('--database-url <variable>', 'that holds the connection string', 'DATABASE_URL')
    .option('--master-key <variable>', 'that holds the master key', 'LITELLM_MASTER_KEY')
    .option('--salt-key <variable>', 'that holds the salt key', 'LITELLM_SALT_KEY')
    .passThroughOptions()
    .action(
      async (command: string[], options: { databaseUrl: string; masterKey: string; saltKey: string }) => {
        const { guard } = await import('../../guard.ts');
        process.stderr.write(`litellm-rotate: guard: ${await guard(process.env, options)}\n`);
        if (command.length > 0) {
          const { become } = await import('../become.ts');
          become(command);
        }
      },
    );
}
