import {
  ApplicationFailure,
  CancelledFailure,
  TerminatedFailure,
  TimeoutFailure,
  WorkflowFailedError,
  type WorkflowHandle,
} from '@temporalio/client';
import { failureTypes } from '../rotation/failure.ts';
import type { RotationResult, RotationStatus } from '../rotation/status.ts';
import { CommandError, exitCodes } from './exit.ts';
import { printable } from './printable.ts';

/** The result of a workflow that has closed, or what its failure means. */
export async function resultOf(handle: WorkflowHandle): Promise<RotationResult> {
  try {
    return printable((await handle.result()) as RotationResult);
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    const { cause } = error;
    if (cause instanceof CancelledFailure) {
      throw new CommandError(
        exitCodes.rolledBack,
        'the rotation was cancelled and rolled back: every file and value is as before',
      );
    }
    if (cause instanceof TerminatedFailure || cause instanceof TimeoutFailure)
      throw endedByForce(handle.workflowId);
    const type = cause instanceof ApplicationFailure ? cause.type : undefined;
    const code =
      type === failureTypes.badRequest
        ? exitCodes.usage
        : type === failureTypes.refused || type === failureTypes.leaseHeld
          ? exitCodes.finding
          : type === 'RolledBack'
            ? exitCodes.rolledBack
            : exitCodes.needsPerson;
    throw new CommandError(code, cause?.message ?? error.message);
  }
}

const mendByReconciling =
  'litellm-rotate reconcile TARGET   (leads it to one side; so does the next rotation)';

/** No compensation ran: what was done stands, until somebody converges it. */
function endedByForce(workflowId: string): CommandError {
  return new CommandError(
    exitCodes.needsPerson,
    `workflow ${workflowId} was terminated or timed out, so nothing was rolled back: the deployment may be in the middle of a rotation`,
    [mendByReconciling],
  );
}

/** A Temporal that came back without its database. */
export function forgotten(workflowId: string): CommandError {
  return new CommandError(
    exitCodes.needsPerson,
    `Temporal does not know workflow ${workflowId} any more, so nothing is rolled back: the deployment may be in the middle of a rotation`,
    [mendByReconciling],
  );
}

/** The same of what changes nothing, or nothing that cannot stay. */
export function forgottenLook(workflowId: string): CommandError {
  return new CommandError(
    exitCodes.finding,
    `Temporal does not know workflow ${workflowId} any more; it changed nothing that cannot stay as it is; run it again`,
  );
}

export function needsPerson(workflowId: string, { problem }: RotationStatus): CommandError {
  return new CommandError(exitCodes.needsPerson, `the rotation needs a person: ${problem ?? ''}`, [
    `after mending what it names: temporal workflow update execute --name rollback --workflow-id ${workflowId}`,
    `or, to go forward instead: temporal workflow update execute --name resume --workflow-id ${workflowId}`,
    'docs/runbook.md, "a rotation that needs a person", says how to choose',
  ]);
}
