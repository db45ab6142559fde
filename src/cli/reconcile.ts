import { workflowTaskTimeout, workflowTypes } from '../workflows/messages.ts';
import { exitCodes } from './exit.ts';
import { resultOf } from './following.ts';
import { requester } from './requester.ts';
import { withClient } from './temporal-client.ts';

/** `reconcile TARGET`: leads what a terminated rotation left to one side. */
export async function reconcile(
  target: string,
  options: { taskQueue: string; json?: boolean },
): Promise<number> {
  return withClient(async (client) => {
    const handle = await client.workflow.start(workflowTypes.reconcile, {
      args: [{ target, requestedBy: requester() }],
      taskQueue: options.taskQueue,
      workflowId: `reconcile-${target}`,
      workflowIdConflictPolicy: 'USE_EXISTING',
      workflowTaskTimeout,
      staticSummary: `Reconcile what an ended rotation of ${target} left`,
    });
    const result = (await resultOf(handle)) as unknown as { rotation: string | null; direction: string };
    if (options.json === true) process.stdout.write(`${JSON.stringify(result)}\n`);
    else if (result.rotation === null) process.stdout.write(`${target}: nothing to reconcile\n`);
    else process.stdout.write(`${target}: rotation ${result.rotation} led ${result.direction}\n`);
    return exitCodes.done;
  });
}
