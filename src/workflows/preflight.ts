import { workflowInfo } from '@temporalio/workflow';
import { makePlan, type Plan } from '../rotation/plan.ts';
import type { RotationRequest } from '../rotation/request.ts';
import { converge } from './convergence.ts';
import { endedAlready, unfinishedRotation, unreconciled } from './failures.ts';
import { firstLooks, firstValues, looks } from './policies.ts';
import type { Rotation } from './rotation.ts';

/** Looks at every part and makes the plan. Reads only, but for the lease and our own journal. */
export async function preflight(
  rotation: Rotation,
  request: RotationRequest,
): Promise<{ plan: Plan; digest: string }> {
  const { job, progress } = rotation;
  progress.enter('preflight');
  const { maxOutageSeconds, rehearsedAlways } = await firstLooks.findTarget.executeWithOptions(
    { summary: `Find target ${job.target} in the worker's configuration` },
    [job],
  );
  rotation.undo.add(rotation.back.lease);
  await takeLease(rotation, request);
  const { secrets: files, rotationCase } = await progress.run(
    firstLooks.inspectSecrets,
    { ...job, keys: request.keys },
    'Inspect the secret files',
    ({ secrets: { places } }) => `${places.length} places`,
  );
  const seenService = await progress.run(
    firstLooks.inspectService,
    { ...job, rotationCase },
    'Inspect the service and the keys that it was started with',
    ({ description, detail }) => `${description}: ${detail}`,
  );
  const seenProxy = await progress.run(
    firstLooks.inspectProxy,
    job,
    'Prove that the proxy accepts the master key and no other',
    ({ models }) => `${models} models`,
  );
  const database = await progress.run(
    firstValues.inventoryDatabase,
    job,
    'Find every sealed value in the database',
    (found) => `${found.values} values in ${found.columns} columns`,
  );
  const rehearsal =
    (request.rehearse ?? rehearsedAlways)
      ? await progress.run(
          firstLooks.inspectRehearsal,
          job,
          'Inspect where it can be rehearsed',
          ({ description }) => description,
        )
      : null;
  const plan = makePlan({
    ...job,
    rotationCase,
    maxOutageSeconds,
    secrets: files,
    service: seenService,
    proxy: seenProxy,
    rehearsal,
    database,
  });
  const { digest } = await firstLooks.recordPlan.executeWithOptions(
    { summary: 'Keep the plan in the journal' },
    [{ ...job, plan }],
  );
  return { plan, digest };
}

async function takeLease(rotation: Rotation, { dryRun }: RotationRequest): Promise<void> {
  const { job, progress } = rotation;
  const { workflowId, runId } = workflowInfo();
  const take = () =>
    progress.run(
      firstLooks.takeLease,
      { ...job, workflowId, runId },
      'Take the lease: one rotation a database',
      ({ unfinished }) =>
        unfinished === null ? '' : `held by rotation ${unfinished}, whose workflow has ended`,
    );
  let taken = await take();
  if (taken.unfinished !== null) {
    // To lead it to an end may stop LiteLLM, and a dry run changes nothing.
    if (dryRun) throw unfinishedRotation(job.target, taken.unfinished);
    await converge({ target: job.target, rotation: taken.unfinished }, progress).catch((failure: unknown) => {
      throw unreconciled(job.target, failure, true);
    });
    taken = await take();
  }
  if (taken.found === 'an end') throw endedAlready(job.target);
  if (taken.found === 'a beginning') await beginAgain(rotation);
}

/**
 * A workflow that was reset knows nothing of what it did. Every step back is put on the list, and what was cut over is
 * led back; the pending keys and what is staged under them are kept, and used again.
 */
async function beginAgain({ job, progress, undo: steps, back }: Rotation): Promise<void> {
  const parts = await progress.run(
    looks.observeParts,
    job,
    'Look at what this rotation did before its workflow was reset',
    (seen) => `database: ${seen.database} key, secret files: ${seen.secrets}, service: ${seen.service}`,
  );
  steps.add(back.pendingKeys);
  if (parts.clone) steps.add(back.clone);
  for (const step of [back.canary, back.stagedValues]) steps.add(step);
  // LiteLLM runs with the previous key. Of a key file that somebody has edited, the stop will say so, before an outage.
  const isBefore = parts.secrets === 'previous' || parts.secrets === 'changed';
  if (parts.running && parts.database === 'previous' && isBefore) return;
  for (const step of [back.stop, back.swap, back.secrets, back.start]) steps.add(step);
  await steps.run('stagedValues');
}
