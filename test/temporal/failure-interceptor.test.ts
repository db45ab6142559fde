import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { pino } from 'pino';
import { beforeEach, describe, expect, test } from 'vitest';
import { failureTypes, finalFailures, RotationError } from '../../src/rotation/failure.ts';
import { toFailure } from '../../src/temporal/failure-interceptor.ts';

const secret = 'sk-in-a-row-or-a-command-line';
let logged = '';
const logger = pino({ base: null }, { write: (line: string) => (logged += line) });
const failureOf = (error: unknown) => toFailure(error, 'swapValues', logger) as ApplicationFailure;

beforeEach(() => {
  logged = '';
});

describe('an error on its way into the history', () => {
  test.for(Object.values(failureTypes))(
    'of type %s passes as it was written, and is tried again only where that may help',
    (type) => {
      const failure = failureOf(new RotationError(type, 'found, expected, next', { facts: { rows: 3 } }));
      expect(failure).toMatchObject({
        type,
        message: 'found, expected, next',
        details: [{ rows: 3 }],
        stack: '',
      });
      expect(failure.nonRetryable).toBe(finalFailures.includes(type));
      expect(logged).toBe('');
    },
  );

  test('leaves its cause behind, whose text may hold a row', () => {
    const cause = new Error(secret);
    const failure = failureOf(new RotationError(failureTypes.databaseFailed, 'found', { cause }));
    expect(failure.cause).toBeUndefined();
  });

  test.for([
    [
      'of Postgres',
      Object.assign(new Error(`duplicate key ${secret}`), { code: '23505', detail: secret }),
      'Error (23505)',
    ],
    ['of a program', Object.assign(new TypeError(secret), { command: secret }), 'TypeError'],
    [
      'whose name is not one',
      Object.assign(new Error('x'), { name: `Error ${secret}`, code: `${secret} !` }),
      'error',
    ],
    ['that is a text', secret, 'error'],
    ['that is nothing', null, 'error'],
  ] as const)(
    '%s keeps its name and code alone; the log has its place, and not its text',
    ([, error, named]) => {
      const failure = failureOf(error);
      expect(failure).toMatchObject({
        type: 'Unexpected',
        message: `swapValues: found an unforeseen ${named}; its text is withheld as it could hold a secret; the worker's log has its place in the code`,
        stack: '',
      });
      expect(failure.details ?? []).toEqual([]);
      expect(failure.cause).toBeUndefined();
      expect(failure.nonRetryable).not.toBe(true);
      expect(JSON.stringify(failure) + failure.message + logged).not.toContain('sk-in');
      const { place } = JSON.parse(logged) as { place: string[] };
      if (error instanceof Error) expect(place[0]).toMatch(/failure-interceptor\.test\.ts:\d+:\d+/);
    },
  );

  test('that Temporal made itself, a cancellation above all, is not touched', () => {
    const cancelled = new CancelledFailure('cancelled');
    expect(failureOf(cancelled)).toBe(cancelled);
    const own = ApplicationFailure.nonRetryable('refused', 'Refused');
    expect(failureOf(own)).toBe(own);
  });
});
