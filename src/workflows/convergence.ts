import { ApplicationFailure, CancellationScope } from '@temporalio/workflow';
import type { Job } from '../activities/ports.ts';
import { failureTypes } from '../rotation/failure.ts';
import { createCompensations } from './compensations.ts';
import { looks, proxy, undo, values } from './policies.ts';
import type { Progress } from './progress.ts';
import { Compensations } from './saga.ts';

/** Whether a deployment that is on the pending keys in every part serves with them: then going back would be an outage for nothing. */
async function isVerified(job: Job, progress: Progress): Promise<boolean> {
  try {
    const side = { ...job, side: 'pending' as const };
    await progress.run(
      proxy.verifyKeys,
      side,
      'Verify that the new key is accepted, the previous and a random one refused',
    );
    await progress.run(values.verifyDatabase, { ...job, swapped: 0 }, 'Scan the database');
    return true;
  } catch {
    return false;
  }
}

/** Which way a rotation was led to its end. */
export type Direction = 'back' | 'forward' | 'nothing to do';

/**
 * Leads a rotation whose workflow was terminated to one side. No compensation ran for it, so what is done is read off
 * the parts: back to the previous keys while they exist, forward once they were destroyed.
 */
export async function converge(job: Job, progress: Progress): Promise<Direction> {
  return CancellationScope.nonCancellable(async () => {
    const parts = await progress.run(
      looks.observeParts,
      job,
      `Look at what rotation ${job.rotation} left`,
      (seen) => `database: ${seen.database} key, secret files: ${seen.secrets}, service: ${seen.service}`,
    );
    // Whichever way it is led: the clone of its rehearsal is of no use to it any more.
    if (parts.clone) await progress.run(undo.destroyClone, job, 'Destroy the clone of its rehearsal');
    if (parts.secrets === 'changed') {
      throw ApplicationFailure.nonRetryable(
        `rotation ${job.rotation} was ended in the middle, and a secret file was changed since: found the database under the ${parts.database} key and a file on neither side; ` +
          'expected the bytes of one side; see "recovery by hand" in docs/runbook.md',
        failureTypes.changedElsewhere,
      );
    }
    if (!parts.prepared && parts.database === 'pending') {
      await progress.run(undo.destroyPreviousKeys, job, 'Destroy the before-images that are left');
      await progress.run(undo.releaseLease, job, 'Release its lease');
      return 'forward';
    }
    if (
      parts.prepared &&
      parts.running &&
      parts.database === 'pending' &&
      parts.secrets === 'pending' &&
      (await isVerified(job, progress))
    ) {
      await progress.run(undo.removeCanary, job, 'Remove the canary model and its virtual key');
      await progress.run(undo.destroyPreviousKeys, job, 'Destroy the previous keys and the before-images');
      await progress.run(undo.releaseLease, job, 'Release its lease');
      return 'forward';
    }
    const steps = createCompensations(job, progress, () => null);
    const back = new Compensations();
    back.add(steps.lease);
    // Without a slot, too: one that was being made or destroyed leaves a file with keys in it.
    back.add(steps.pendingKeys);
    if (parts.prepared) back.add(steps.canary);
    back.add(steps.stagedValues);
    if (parts.prepared && (!parts.running || parts.database === 'pending' || parts.secrets !== 'previous')) {
      back.add(steps.stop);
      back.add(steps.swap);
      back.add(steps.secrets);
      back.add(steps.start);
    }
    await back.run();
    return parts.prepared ? 'back' : 'nothing to do';
  });
}
