import { workflowTaskTimeout, workflowTypes } from '../workflows/messages.ts';
import { CommandError, exitCodes } from './exit.ts';
import { follow, type Followed } from './following.ts';
import { requester } from './requester.ts';
import { forgotten, resultOf } from './rotation-end.ts';
import { withClient } from './temporal-client.ts';

interface Reconciled {
  readonly target: string;
  readonly rotation: string | null;
  readonly direction: string;
}

export const reconciled: Followed<Reconciled> = {
  resultOf: async (handle) => (await resultOf(handle)) as unknown as Reconciled,
  detached: (workflowId) =>
    new CommandError(exitCodes.detached, 'no longer following; the reconciliation goes on', [
      `litellm-rotate status ${workflowId} --follow`,
    ]),
  forgotten,
};

export function describeReconciliation({ target, rotation, direction }: Reconciled): string {
  if (rotation === null) return `${target}: nothing to reconcile`;
  if (direction === 'nothing to do')
    return `${target}: rotation ${rotation} had changed nothing; its lease is released`;
  return `${target}: rotation ${rotation} led ${direction}`;
}

/** `reconcile TARGET`: leads what a terminated rotation left to one side. */
export async function reconcile(
  target: string,
  options: { taskQueue: string; json?: boolean },
): Promise<number> {
  return withClient(async (client) => {
    const { workflowId } = await client.workflow.start(workflowTypes.reconcile, {
      args: [{ target, requestedBy: requester() }],
      taskQueue: options.taskQueue,
      workflowId: `reconcile-${target}`,
      workflowIdConflictPolicy: 'USE_EXISTING',
      workflowTaskTimeout,
      staticSummary: `Reconcile what an ended rotation of ${target} left`,
    });
    process.stderr.write(`litellm-rotate: reconciliation of ${target}: workflow ${workflowId}\n`);
    const result = await follow(client, workflowId, reconciled);
    process.stdout.write(
      `${options.json === true ? JSON.stringify(result) : describeReconciliation(result)}\n`,
    );
    return exitCodes.done;
  });
}
