import { describe, expect, test } from 'vitest';
import { givenValues, parseEnviron, unreadableEnvironment } from '../../src/services/process-environment.ts';

const environ = (...entries: string[]) =>
  parseEnviron(Buffer.from(entries.map((entry) => `${entry}\0`).join('')));
/** What the processes of a service were given for a name, in clear. */
const given = (name: string, ...environments: ReturnType<typeof environ>[]) => {
  const value = givenValues([name], environments).get(name);
  return typeof value === 'object' ? value.given.reveal() : value;
};

describe('what a process was given at its start', () => {
  test.for([
    ['a value, with what looks like another in it', ['KEY=sk-a=b KEY=c'], 'sk-a=b KEY=c'],
    ['a value of several lines', ['KEY=sk-a\nOTHER=1'], 'sk-a\nOTHER=1'],
    ['an empty value', ['KEY='], ''],
    ['two values: the first, as getenv(3) does', ['KEY=first', 'KEY=second'], 'first'],
    ['nothing', ['OTHER=1'], 'absent'],
    [
      'nothing that can be read: its title was written over it',
      ['gunicorn: worker', '', '', 'OTHER=1'],
      'unknown',
    ],
    ['a value, though its title was written over others', ['gunicorn: worker', '', 'KEY=sk-a'], 'sk-a'],
    ['nothing at all', [], 'unknown'],
  ] as const)('is told for %s', ([, entries, expected]) => {
    expect(given('KEY', environ(...entries))).toBe(expected);
  });
});

describe('of a service of several processes', () => {
  test.for([
    ['all that have it agree', [environ('KEY=a'), environ('OTHER=1'), environ('KEY=a')], 'a'],
    ['they disagree', [environ('KEY=a'), environ('KEY=b')], 'unknown'],
    ['none has it', [environ('OTHER=1'), environ('OTHER=2')], 'absent'],
    ['none has it, and one could not be read', [environ('OTHER=1'), unreadableEnvironment], 'unknown'],
    ['there is none', [], 'unknown'],
  ] as const)('where %s', ([, environments, expected]) => {
    expect(given('KEY', ...environments)).toBe(expected);
  });
});
