import { Argument, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../config/duration.ts';
import { keyNames, type KeyName } from '../rotation/keys.ts';
import { upgradeFormats } from '../rotation/reencryption.ts';

/** Arguments and options that more than one command has, and how what is given to them is read. */

export const target = new Argument('<target>', "a target of the worker's configuration").argParser(parseName);
export const workflowId = new Argument(
  '<workflow-id>',
  'as rotate has printed it, and status lists it',
).argParser(parseName);

export const taskQueue = new Option('--task-queue <name>', "the worker's task queue")
  .default('litellm-rotate')
  .env('LITELLM_ROTATE_TASK_QUEUE')
  .argParser(parseName);
export const keys = new Option(
  '--keys <names>',
  'what to rotate: master, salt, or both, which is the default',
).argParser(parseKeys);
export const reason = new Option('--reason <text>', 'why, for the record: a ticket, a policy');
export const rehearse = new Option(
  '--rehearse',
  'rotate a clone of the database and start LiteLLM on it first, before the outage',
);
export const noRehearse = new Option('--no-rehearse', 'leave that out, where the configuration says always');
export const json = new Option('--json', 'print the result as JSON');
export const config = new Option(
  '--config <file>',
  'the configuration file (else LITELLM_ROTATE_CONFIG, ./litellm-rotate.yaml, /etc/litellm-rotate/config.yaml)',
);
export const upgradeFormat = new Option(
  '--upgrade-format <format>',
  'seal what is in a lower format in this one',
).choices(upgradeFormats);

function parseKeys(text: string): readonly KeyName[] {
  const names = text === 'both' ? [...keyNames] : text.split(',');
  const wrong = names.find((name) => !(keyNames as readonly string[]).includes(name));
  if (wrong !== undefined) throw new InvalidArgumentError('expected master, salt, or both');
  return names as KeyName[];
}

export function parseName(text: string): string {
  if (text.trim() === '') throw new InvalidArgumentError('expected a text that is not empty');
  return text;
}

/** A length of time, in ms. */
export function parseInterval(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError('expected a length of time such as 90d');
  if (ms < 60_000) throw new InvalidArgumentError('expected at least 1m');
  // Temporal looks no further ahead for the next time than some decades, and then never starts one.
  if (ms > 3650 * 86_400_000) throw new InvalidArgumentError('expected at most 3650d');
  return ms;
}

export function parseCount(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('expected a number of at least 1');
  return Number(text);
}
