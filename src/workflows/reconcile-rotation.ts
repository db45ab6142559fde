import { setHandler, workflowInfo } from '@temporalio/workflow';
import { converge, type Direction } from './convergence.ts';
import { describeFailure, readRequest, unreconciled } from './failures.ts';
import { statusQuery } from './messages.ts';
import { firstLooks, leaving, looks } from './policies.ts';
import { Progress } from './progress.ts';

/** Leads what a terminated rotation of a target left behind to one side: `{ "target": "prod" }`. */
export async function ReconcileRotation(
  ...inputs: unknown[]
): Promise<{ target: string; rotation: string | null; direction: Direction }> {
  const { target } = readRequest(inputs);
  const { workflowId, runId, firstExecutionRunId } = workflowInfo();
  const job = { target, rotation: firstExecutionRunId };
  const progress = new Progress(job.rotation, target);
  setHandler(statusQuery, () => progress.status, { description: 'What is being led to which side' });
  let begun = false;
  try {
    await looks.findTarget.executeWithOptions(
      { summary: `Find target ${target} in the worker's configuration` },
      [job],
    );
    const { unfinished } = await progress.run(
      firstLooks.takeLease,
      { ...job, workflowId, runId },
      'Look at the lease',
    );
    if (unfinished === null) {
      await leaving.releaseLease.executeWithOptions({ summary: 'Release the lease' }, [job]);
      progress.enter('done', 'reconciled');
      return { target, rotation: null, direction: 'nothing to do' };
    }
    begun = true;
    const direction = await converge({ target, rotation: unfinished }, progress);
    progress.enter('done', 'reconciled');
    return { target, rotation: unfinished, direction };
  } catch (failure) {
    const problem = describeFailure(failure);
    if (begun) progress.enter('needs a person', 'needs a person', problem);
    else progress.enter('done', 'refused', problem);
    throw unreconciled(target, failure, begun);
  }
}
