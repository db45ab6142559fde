import type { Context } from '@temporalio/activity';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, Next } from '@temporalio/worker';
import type { Logger } from 'pino';
import { failureTypes, finalFailures, RotationError } from '../rotation/failure.ts';

/**
 * The border that errors cross into Temporal's history, the terminal and logs. A `RotationError` was written to be read
 * and passes with its type; of anything else only its name, code and place are kept, because its text may hold a row's
 * value (Postgres), a command line (a spawned program) or a URL with a password.
 */
export function createFailureInterceptor(
  context: Context,
  logger: Logger,
): { inbound: ActivityInboundCallsInterceptor } {
  return {
    inbound: {
      async execute(
        input: ActivityExecuteInput,
        next: Next<ActivityInboundCallsInterceptor, 'execute'>,
      ): Promise<unknown> {
        try {
          return await next(input);
        } catch (error) {
          throw toFailure(error, context.info.activityType, logger);
        }
      },
    },
  };
}

/** The failure that stands for an error in history: no cause, no stack trace, no text that was not meant for it. */
export function toFailure(error: unknown, activityType: string, logger: Logger): Error {
  if (error instanceof CancelledFailure || error instanceof ApplicationFailure) return error;
  if (error instanceof RotationError) {
    return withoutStack(
      ApplicationFailure.create({
        type: error.type,
        message: error.message,
        nonRetryable: finalFailures.includes(error.type),
        details: error.facts === undefined ? [] : [error.facts],
      }),
    );
  }
  const { name, code } = namesOf(error);
  logger.error({ activityType, name, code, place: placeOf(error) }, 'unforeseen error; its text is withheld');
  return withoutStack(
    ApplicationFailure.create({
      type: failureTypes.unexpected,
      message: `${activityType}: found an unforeseen ${name}${code === undefined ? '' : ` (${code})`}; its text is withheld as it could hold a secret; the worker's log has its place in the code`,
    }),
  );
}

function namesOf(error: unknown): { name: string; code: string | undefined } {
  const word = (value: unknown) =>
    typeof value === 'string' && /^[A-Za-z0-9_]{1,40}$/.test(value) ? value : undefined;
  const { name, code } = (typeof error === 'object' && error !== null ? error : {}) as {
    name?: unknown;
    code?: unknown;
  };
  return { name: word(name) ?? 'error', code: word(code) };
}

/** The frames of a stack trace, without the message that stands before them. */
function placeOf(error: unknown): string[] {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  return stack
    .split('\n')
    .filter((line) => /^\s+at [^\n]+:\d+:\d+\)?$/.test(line))
    .slice(0, 8);
}

function withoutStack(failure: ApplicationFailure): ApplicationFailure {
  failure.stack = '';
  return failure;
}
