import { CancellationScope, setHandler, workflowInfo } from '@temporalio/workflow';
import type { Job } from '../activities/ports.ts';
import {
  adviseOnRemaining,
  changedPlan,
  parseReencryptionRequest,
  type ReencryptionPlan,
  type ReencryptionRequest,
  type ReencryptionResult,
  unreadableFormat,
} from '../rotation/reencryption.ts';
import { describeFailure, endedReencryption, readInput, refused, unfinishedRotation } from './failures.ts';
import { statusQuery } from './messages.ts';
import { firstLooks, firstValues, leaving, looks, values } from './policies.ts';
import { Progress } from './progress.ts';

/**
 * Seals stored values anew under the key that they are under, while LiteLLM serves: in a stronger format, or once instead
 * of twice. `{ "target": "prod", "upgradeFormat": "v2" }`. Every value opens at every moment, so there is no way back to
 * go: what is done stays, and another run goes on with what is left.
 */
export async function ReencryptValues(...inputs: unknown[]): Promise<ReencryptionResult> {
  const request = readInput(inputs, parseReencryptionRequest);
  const { target, upgradeFormat, repairSealedTwice, dryRun } = request;
  const { workflowId, runId, firstExecutionRunId } = workflowInfo();
  const job = { target, rotation: firstExecutionRunId };
  const progress = new Progress(job.rotation, target);
  setHandler(statusQuery, () => progress.status, { description: 'How far the re-encryption is' });
  let leased = false;
  try {
    const { readsFormats } = await looks.findTarget.executeWithOptions(
      { summary: `Find target ${target} in the worker's configuration` },
      [job],
    );
    const unreadable = unreadableFormat(request, readsFormats);
    if (unreadable !== undefined) throw refused(unreadable);
    if (!dryRun) {
      // Set first: a call that timed out may have taken it.
      leased = true;
      const { unfinished } = await progress.run(
        firstLooks.takeLease,
        { ...job, workflowId, runId },
        'Take the lease of the database',
      );
      if (unfinished !== null) throw unfinishedRotation(target, unfinished);
    }
    const plan = await progress.run(
      firstValues.planReencryption,
      { ...job, upgradeFormat, repairSealedTwice },
      'Find the values to seal anew',
      (found) => `${found.values} values`,
    );
    const result = dryRun ? planned(request, plan) : await reencrypt(request, job, plan, progress);
    if (leased) await release(job, progress);
    progress.enter('done', result.outcome);
    return result;
  } catch (failure) {
    if (leased) await release(job, progress);
    progress.enter('done', 'refused', describeFailure(failure));
    throw endedReencryption(target, failure);
  }
}

async function reencrypt(
  request: ReencryptionRequest,
  job: Job,
  plan: ReencryptionPlan,
  progress: Progress,
): Promise<ReencryptionResult> {
  const { target, upgradeFormat, repairSealedTwice } = request;
  const changed = changedPlan(request, plan);
  if (changed !== undefined) throw refused(changed);
  progress.enter('stage');
  const startedAt = Date.now();
  const asked = { ...job, upgradeFormat, repairSealedTwice };
  const { passes } = await progress.run(
    values.reencryptValues,
    { ...asked, expected: plan.values },
    `Seal ${plan.values} values anew`,
    (report) =>
      [
        `${report.upgraded} upgraded, ${report.repaired} repaired in ${report.rows} rows`,
        ...(report.missed === 0 ? [] : [`${report.missed} rows held by others`]),
      ].join(', '),
  );
  const seconds = Math.round((Date.now() - startedAt) / 100) / 10;
  const remaining = await progress.run(
    values.countRemaining,
    asked,
    'Count what is left, by format',
    (left) =>
      `legacy ${left.formats.legacy}, v2 ${left.formats.v2}, v3 ${left.formats.v3}; ${left.values} not as wanted`,
  );
  return {
    outcome: 'reencrypted',
    target,
    requested: { upgradeFormat, repairSealedTwice },
    plan,
    done: { values: Math.max(0, plan.values - remaining.values), passes, seconds },
    remaining,
    advice: adviseOnRemaining(remaining),
  };
}

function planned(
  { target, upgradeFormat, repairSealedTwice }: ReencryptionRequest,
  plan: ReencryptionPlan,
): ReencryptionResult {
  const { lines, values: count, formats, leftAlone } = plan;
  return {
    outcome: 'planned',
    target,
    requested: { upgradeFormat, repairSealedTwice },
    plan,
    done: null,
    remaining: { lines, values: count, formats, leftAlone },
    advice: null,
  };
}

/** Never a reason to fail: the next rotation takes over the lease of a workflow that has ended. */
async function release(job: Job, progress: Progress): Promise<void> {
  await CancellationScope.nonCancellable(() =>
    progress.run(leaving.releaseLease, job, 'Release the lease').catch(() => undefined),
  );
}
