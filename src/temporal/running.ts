import { type Client, WorkflowNotFoundError } from '@temporalio/client';

/**
 * Tells whether the workflow of a rotation is still open. Asked by workflow id: a reset gives it another run id, and
 * the first run of the chain is what a rotation is named by.
 */
export function createRunningCheck(
  client: Client,
): (workflowId: string, rotation: string) => Promise<boolean> {
  return async (workflowId, rotation) => {
    try {
      const { status, raw } = await client.workflow.getHandle(workflowId).describe();
      const first = raw.workflowExecutionInfo?.firstRunId;
      return (
        // One that is paused, as newer servers can, goes on where it is.
        (status.name === 'RUNNING' || status.name === 'PAUSED') &&
        (first === undefined || first === null || first === '' || first === rotation)
      );
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return false;
      throw error;
    }
  };
}
