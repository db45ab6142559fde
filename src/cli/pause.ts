import {
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import { continueUpdate, pauseUpdate } from '../workflows/messages.ts';
import { CommandError, exitCodes } from './exit.ts';
import { withClient } from './temporal-client.ts';

/** A pause is done when the running step has ended, which learns of it with a heartbeat. */
const answerMs = 60_000;

/** `pause WORKFLOW-ID`: stands still before the outage, until it is continued. */
export function pause(workflowId: string): Promise<number> {
  return send(workflowId, pauseUpdate, [
    `${workflowId}: paused; LiteLLM serves with its current keys, and nothing is re-encrypted`,
    `litellm-rotate continue ${workflowId}`,
  ]);
}

/** `continue WORKFLOW-ID`: goes on where the pause stopped it. */
export function goOn(workflowId: string): Promise<number> {
  return send(workflowId, continueUpdate, [
    `${workflowId}: goes on`,
    `litellm-rotate status ${workflowId} --follow`,
  ]);
}

async function send(
  workflowId: string,
  update: typeof pauseUpdate,
  [said, next]: readonly [string, string],
): Promise<number> {
  return withClient(async (client) => {
    const handle = client.workflow.getHandle(workflowId);
    try {
      await client.withDeadline(Date.now() + answerMs, () => handle.executeUpdate(update));
    } catch (error) {
      if (error instanceof WorkflowUpdateFailedError)
        throw new CommandError(exitCodes.finding, `${workflowId}: ${error.cause?.message ?? error.message}`);
      if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError)
        throw new CommandError(
          exitCodes.finding,
          `${workflowId}: found no answer within ${answerMs / 1000} s; expected one of a worker`,
          [`litellm-rotate status ${workflowId}   (is a worker running?)`],
        );
      if (error instanceof WorkflowNotFoundError)
        throw new CommandError(exitCodes.usage, `workflow ${workflowId}: found none of that id that runs`, [
          'litellm-rotate status   (lists them)',
        ]);
      throw error;
    }
    process.stdout.write(`${said}\n  next: ${next}\n`);
    return exitCodes.done;
  });
}
