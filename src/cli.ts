#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { exitCodes, reportError } from './cli/exit.ts';
import { parseDuration } from './config/duration.ts';
import { keyNames, type KeyName } from './rotation/keys.ts';
import { type UpgradeFormat, upgradeFormats } from './rotation/reencryption.ts';

const program = new Command('litellm-rotate')
  .description('Rotates the master key and the salt key of a LiteLLM deployment, durably.')
  .version('0.1.0')
  .exitOverride()
  .enablePositionalOptions()
  .showHelpAfterError('litellm-rotate: hint: --help shows every command')
  .configureOutput({
    outputError: (text, write) => write(text.replace(/^error: /, 'litellm-rotate: error: ')),
  });

const taskQueue = new Option('--task-queue <name>', "the worker's task queue")
  .default('litellm-rotate')
  .env('LITELLM_ROTATE_TASK_QUEUE');
const keys = new Option('--keys <names>', 'what to rotate: master, salt, or both').argParser(parseKeys);
const reason = new Option('--reason <text>', 'why, for the record: a ticket, a policy');
const rehearse = new Option(
  '--rehearse',
  'rotate a clone of the database and start LiteLLM on it first, before the outage',
);
const noRehearse = new Option('--no-rehearse', 'leave that out, where the configuration says always');
const json = new Option('--json', 'print the result as JSON');
const config = new Option(
  '--config <file>',
  'the configuration file (else LITELLM_ROTATE_CONFIG, ./litellm-rotate.yaml, /etc/litellm-rotate/config.yaml)',
);

program
  .command('plan')
  .description('look at everything, say what a rotation would do, and change nothing')
  .argument('<target>', "a target of the worker's configuration")
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
      const { rotate } = await import('./cli/rotate.ts');
      process.exitCode = await rotate(target, { ...options, dryRun: true });
    },
  );

program
  .command('rotate')
  .description('rotate, and follow until it ends; Ctrl-C stops following, not the rotation')
  .argument('<target>', "a target of the worker's configuration")
  .addOption(keys)
  .addOption(reason)
  .addOption(rehearse)
  .addOption(noRehearse)
  .option('--workflow-id <id>', 'name the workflow yourself')
  .option('--dry-run', 'stop after the plan, as plan does')
  .option('--detach', 'start it and print its workflow id')
  .addOption(taskQueue)
  .addOption(json)
  .action(async (target: string, options: { keys?: readonly KeyName[]; taskQueue: string }) => {
    const { rotate } = await import('./cli/rotate.ts');
    process.exitCode = await rotate(target, options);
  });

program
  .command('status')
  .description('the last rotations, or one of them step by step')
  .argument('[workflow-id]', 'the one to show')
  .option('--follow', 'until it ends')
  .option('--limit <n>', 'how many to list', parseCount, 10)
  .addOption(json)
  .action(
    async (workflowId: string | undefined, options: { follow?: boolean; json?: boolean; limit: number }) => {
      const { listRotations, showRotation } = await import('./cli/status.ts');
      process.exitCode =
        workflowId === undefined ? await listRotations(options) : await showRotation(workflowId, options);
    },
  );

program
  .command('pause')
  .description('let a rotation stand still before the outage, until it is continued')
  .argument('<workflow-id>')
  .action(async (workflowId: string) => {
    const { pause } = await import('./cli/pause.ts');
    process.exitCode = await pause(workflowId);
  });

program
  .command('continue')
  .description('let a paused rotation go on from where it stopped')
  .argument('<workflow-id>')
  .action(async (workflowId: string) => {
    const { goOn } = await import('./cli/pause.ts');
    process.exitCode = await goOn(workflowId);
  });

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
      const { createSchedule } = await import('./cli/schedule.ts');
      process.exitCode = await createSchedule(target, options);
    },
  );
schedule
  .command('list')
  .addOption(json)
  .action(async (options: { json?: boolean }) => {
    const { listSchedules } = await import('./cli/schedule.ts');
    process.exitCode = await listSchedules(options);
  });
schedule
  .command('trigger')
  .argument('<target>')
  .action(async (target: string) => {
    const { triggerSchedule } = await import('./cli/schedule.ts');
    process.exitCode = await triggerSchedule(target);
  });
schedule
  .command('delete')
  .argument('<target>')
  .action(async (target: string) => {
    const { deleteSchedule } = await import('./cli/schedule.ts');
    process.exitCode = await deleteSchedule(target);
  });

program
  .command('reconcile')
  .description('lead what a terminated rotation left behind to one side')
  .argument('<target>')
  .addOption(taskQueue)
  .addOption(json)
  .action(async (target: string, options: { taskQueue: string; json?: boolean }) => {
    const { reconcile } = await import('./cli/reconcile.ts');
    process.exitCode = await reconcile(target, options);
  });

program
  .command('inventory')
  .description('count every sealed value by table, column, key and format; change nothing')
  .argument('<target>', "a target of the worker's configuration")
  .option('--rows', 'list the primary keys of the rows that hold them, too')
  .addOption(taskQueue)
  .addOption(json)
  .action(async (target: string, options: { rows?: boolean; taskQueue: string; json?: boolean }) => {
    const { inventory } = await import('./cli/inventory.ts');
    process.exitCode = await inventory(target, options);
  });

program
  .command('reencrypt')
  .description('seal stored values anew under the same key, while LiteLLM serves')
  .argument('<target>', "a target of the worker's configuration")
  .addOption(
    new Option('--upgrade-format <format>', 'seal what is in a lower format in this one').choices(
      upgradeFormats,
    ),
  )
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
      const { reencrypt } = await import('./cli/reencrypt.ts');
      process.exitCode = await reencrypt(target, options);
    },
  );

program
  .command('worker')
  .description('run the worker, until SIGTERM')
  .addOption(config)
  .action(async (options: { config?: string }) => {
    const { runWorker } = await import('./worker.ts');
    await runWorker(process.env, options.config);
  });

program
  .command('doctor')
  .description("look at every part from here, with the worker's configuration; change nothing")
  .addOption(config)
  .addOption(json)
  .action(async (options: { config?: string; json?: boolean }) => {
    const { compose } = await import('./composition.ts');
    const { readConfig } = await import('./config/config.ts');
    const { findConfig } = await import('./config/location.ts');
    const { doctor } = await import('./cli/doctor.ts');
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
  .action(async (command: string[], options: { databaseUrl: string; masterKey: string; saltKey: string }) => {
    const { guard } = await import('./guard.ts');
    process.stderr.write(`litellm-rotate: guard: ${await guard(process.env, options)}\n`);
    if (command.length > 0) {
      const { become } = await import('./cli/become.ts');
      become(command);
    }
  });

program.addHelpText(
  'after',
  `
Examples:
  litellm-rotate doctor                                  is everything in place?
  litellm-rotate plan prod                               what would happen?
  litellm-rotate inventory prod --rows                   what is sealed where, under which key?
  litellm-rotate reencrypt prod --upgrade-format v2      the same key, a stronger format; no outage
  litellm-rotate rotate prod --reason TICKET-12          rotate both keys, and watch
  litellm-rotate rotate prod --keys master               the master key alone
  litellm-rotate rotate prod --rehearse                  on a clone first, before the outage
  litellm-rotate schedule create prod --every 90d        and again every 90 days
  litellm-rotate status                                  the last rotations
  litellm-rotate pause WORKFLOW                          stand still before the outage, until: continue WORKFLOW
  temporal workflow start --type RotateMasterKey --task-queue litellm-rotate --input '{"target":"prod"}'

Temporal is found as its own CLI finds it: TEMPORAL_ADDRESS, TEMPORAL_PROFILE, TEMPORAL_NAMESPACE, ...

Exit codes:
  0  done                        3  failed, and rolled back to the previous keys
  1  a finding, nothing changed  4  needs a person: both keys are kept, see docs/runbook.md
  2  usage, nothing changed      130  Ctrl-C: no longer following, the rotation goes on`,
);

function parseKeys(text: string): readonly KeyName[] {
  const names = text === 'both' ? [...keyNames] : text.split(',');
  const wrong = names.find((name) => !(keyNames as readonly string[]).includes(name));
  if (wrong !== undefined) throw new InvalidArgumentError('expected master, salt, or both');
  return names as KeyName[];
}

function parseInterval(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError('expected a length of time such as 90d');
  if (ms < 60_000) throw new InvalidArgumentError('expected at least 1m');
  return ms;
}

function parseCount(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('expected a number of at least 1');
  return Number(text);
}

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode =
    error instanceof CommanderError
      ? error.exitCode === 0
        ? exitCodes.done
        : exitCodes.usage
      : reportError(error);
}
