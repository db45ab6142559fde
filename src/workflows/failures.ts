import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  rootCause,
  TemporalFailure,
} from '@temporalio/workflow';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import { describeFinding, isBlocking } from '../rotation/finding.ts';
import type { Plan } from '../rotation/plan.ts';
import { parseRequest, type RotationRequest } from '../rotation/request.ts';

/** Reads the input of a rotation. */
export function readRequest(inputs: readonly unknown[]): RotationRequest {
  return readInput(inputs, parseRequest);
}

/** Reads an input; a bad one fails the workflow at once with one sentence, instead of its task for ever. */
export function readInput<T>(inputs: readonly unknown[], parse: (inputs: readonly unknown[]) => T): T {
  try {
    return parse(inputs);
  } catch (error) {
    if (error instanceof RotationError) throw plain(error.message, error.type);
    throw error;
  }
}

/** A plan with blocking findings: all of them, so that they can be mended in one go. */
export function refusedPlan(plan: Plan): ApplicationFailure {
  const blocking = plan.findings.filter(isBlocking);
  const head = `${blocking.length} finding${blocking.length === 1 ? '' : 's'} to mend first, nothing was changed`;
  return plain(
    [head, ...blocking.map((finding) => `- ${describeFinding(finding)}`)].join('\n'),
    failureTypes.refused,
  );
}

/** A workflow that was reset after its end. */
export function endedAlready(target: string): ApplicationFailure {
  return plain(
    `found that this rotation of ${target} has ended with the new keys in force; expected one that has not; start another instead of resetting this workflow`,
    failureTypes.badRequest,
  );
}

/** A rotation that was started with a cron schedule: its second run would be taken for the first one, reset after its end. */
export function refusedCron(target: string): ApplicationFailure {
  return plain(
    `found a cron schedule of Temporal's, whose runs all count as one rotation; expected a Temporal Schedule; terminate this workflow, and run: litellm-rotate schedule create ${target} --every 90d`,
    failureTypes.badRequest,
  );
}

/** The type of the failure of a rotation that could not be led to one side. */
const needsPerson = 'NeedsPerson';

/** The type of the failure of a rotation that went back. */
export const rolledBack = 'RolledBack';

/** How the workflow closes after a rollback: cancelled if that is why, else failed, with the one thing that went wrong. */
export function endedFailure(
  outcome: 'refused' | 'rolled back' | 'needs a person',
  target: string,
  failure: unknown,
): Error {
  if (findCancellation(failure) || outcome === 'needs a person') return failure as Error;
  const type = typeOf(failure);
  const kept =
    type === failureTypes.badRequest || type === failureTypes.leaseHeld ? type : failureTypes.refused;
  return outcome === 'refused'
    ? plain(`rotation of ${target} refused: ${describeFailure(failure)}`, kept)
    : plain(
        `rotation of ${target} failed and was rolled back, every file and value as before, on the previous keys: ${describeFailure(failure)}`,
        rolledBack,
      );
}

/** How a look closes that could not be had: nothing was changed, whatever the reason. */
export function refusedInventory(target: string, failure: unknown): Error {
  if (findCancellation(failure)) return failure as Error;
  const type = typeOf(failure);
  const kept = type === failureTypes.badRequest ? type : failureTypes.refused;
  return plain(`the values of ${target} could not be looked at: ${describeFailure(failure)}`, kept);
}

/** A request that the deployment is not fit for: one sentence, and nothing was changed. */
export function refused(message: string): ApplicationFailure {
  return plain(message, failureTypes.refused);
}

/** A rotation of the same database that was ended by force. It is not led to one side on the way to something else. */
export function unfinishedRotation(target: string, rotation: string): ApplicationFailure {
  return refused(
    `found what rotation ${rotation} left, whose workflow has ended and not released the lease; expected none at work on ${target}; nothing was changed; run "litellm-rotate reconcile ${target}" first`,
  );
}

/** How a re-encryption under the same key closes early: what it has rewritten is readable, and stays. */
export function endedReencryption(target: string, failure: unknown): Error {
  if (findCancellation(failure)) return failure as Error;
  const type = typeOf(failure);
  if (type === failureTypes.refused || type === failureTypes.badRequest || type === failureTypes.leaseHeld)
    return plain(`re-encryption of ${target} refused: ${describeFailure(failure)}`, type);
  return plain(
    `re-encryption of ${target} stopped: ${describeFailure(failure)}; every value is readable, those done stay as they are; run it again to go on`,
    type ?? failureTypes.unexpected,
  );
}

/** How a reconciliation closes that could not lead a rotation to one side: once it has begun to, that is a person's work. */
export function unreconciled(target: string, failure: unknown, begun: boolean): ApplicationFailure {
  const type = typeOf(failure);
  const kept =
    type === failureTypes.badRequest || type === failureTypes.leaseHeld ? type : failureTypes.refused;
  return plain(`${target} could not be reconciled: ${describeFailure(failure)}`, begun ? needsPerson : kept);
}

/** Whether another rotation, which had been ended by force, could not be led to one side: the deployment may be between two keys. */
export const isUnreconciled = (failure: unknown): boolean => typeOf(failure) === needsPerson;

/** What went wrong, in the words of the activity that saw it; never a stack trace. */
export function describeFailure(failure: unknown): string {
  if (findCancellation(failure)) return 'the rotation was cancelled';
  const cause = failure instanceof ActivityFailure ? failure.cause : failure;
  if (cause instanceof TemporalFailure && !(cause instanceof ApplicationFailure)) {
    const activity = failure instanceof ActivityFailure ? `${failure.activityType}: ` : '';
    return `${activity}${cause.message}`;
  }
  return rootCause(cause) ?? String(cause);
}

/** The type of a failure, as the activity that failed has named it. */
function typeOf(failure: unknown): string | null | undefined {
  const cause = failure instanceof ActivityFailure ? failure.cause : failure;
  return cause instanceof ApplicationFailure ? cause.type : undefined;
}

function findCancellation(failure: unknown): boolean {
  return (
    failure instanceof CancelledFailure ||
    (failure instanceof ActivityFailure && failure.cause instanceof CancelledFailure)
  );
}

/** A failure without a stack trace: auditors read it as raw JSON, and paths of this machine are not for them. */
function plain(message: string, type: string): ApplicationFailure {
  const failure = ApplicationFailure.nonRetryable(message, type);
  failure.stack = '';
  return failure;
}
