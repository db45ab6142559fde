#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { addHostCommands } from './cli/commands/host.ts';
import { addRotationCommands } from './cli/commands/rotations.ts';
import { addScheduleCommands } from './cli/commands/schedules.ts';
import { addValueCommands } from './cli/commands/values.ts';
import { endWhenUnread, exitCodes, reportError } from './cli/exit.ts';

const program = new Command('litellm-rotate')
  .description('Rotates the master key and the salt key of a LiteLLM deployment, durably.')
  .version('0.1.0')
  .exitOverride()
  .enablePositionalOptions()
  .showHelpAfterError('litellm-rotate: hint: --help shows every command')
  .configureOutput({
    outputError: (text, write) => write(text.replace(/^error: /, 'litellm-rotate: error: ')),
  });

addRotationCommands(program);
addScheduleCommands(program);
addValueCommands(program);
addHostCommands(program);

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

endWhenUnread([process.stdout, process.stderr]);
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
