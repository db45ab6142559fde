import type { Job } from '../activities/ports.ts';
import type { Progress } from './progress.ts';
import { leaving, undo } from './policies.ts';
import type { Compensation } from './saga.ts';

/** The models that were served before the outage, which must be served after it, whichever way it goes. */
export interface Before {
  readonly models: number;
  readonly modelsDigest: string;
}

/** Every step back, by the step that it undoes. Each looks first, so it is safe after a step that never happened. */
export function createCompensations(job: Job, progress: Progress, before: () => Before | null) {
  const step = (name: string, title: string, work: (summary: string) => Promise<string>): Compensation => ({
    name,
    run: async () => {
      await progress.step(
        `UNDO: ${title}`,
        () => work(`UNDO: ${title}`),
        (result) => result,
      );
    },
  });
  let promoted = false;
  return {
    lease: step('lease', 'Release the lease', async (summary) => {
      // Never a reason to wait for a person: the next rotation takes over the lease of a workflow that has ended.
      return leaving.releaseLease.executeWithOptions({ summary }, [job]).then(
        ({ released }) => (released ? '' : 'it was not ours'),
        () => 'it could not be released; the next rotation takes it over',
      );
    }),
    pendingKeys: step('pendingKeys', 'Destroy the pending keys', async (summary) => {
      await undo.discardPendingKeys.executeWithOptions({ summary }, [job]);
      return '';
    }),
    clone: step('clone', 'Destroy the clone', async (summary) => {
      const { destroyed } = await undo.destroyClone.executeWithOptions({ summary }, [job]);
      return destroyed ? '' : 'there is none';
    }),
    canary: step('canary', 'Remove the canary', async (summary) => {
      await undo.removeCanary.executeWithOptions({ summary }, [job]);
      return '';
    }),
    stagedValues: step('stagedValues', 'Drop the staged values', async (summary) => {
      await undo.dropStagedValues.executeWithOptions({ summary }, [job]);
      return '';
    }),
    stop: step('stop', 'Start the service on the previous keys and verify it', async (summary) => {
      await undo.startService.executeWithOptions({ summary }, [job]);
      // Whichever start it is: one that fell over once and was started again by its supervisor serves as well.
      const { seconds } = await undo.awaitReady.executeWithOptions(
        { summary: 'UNDO: Wait until it is ready' },
        [{ ...job, instance: null }],
      );
      await undo.verifyKeys.executeWithOptions(
        { summary: 'UNDO: Verify that the previous keys are in force' },
        [{ ...job, side: 'previous' }],
      );
      progress.serving(true);
      const ready = `ready after ${seconds} s`;
      const seen = before();
      if (seen === null) return ready;
      const { models, same } = await undo.countModels.executeWithOptions(
        { summary: `UNDO: Look whether the same ${seen.models} models are served` },
        [{ ...job, models: seen.models, modelsDigest: seen.modelsDigest }],
      );
      return same
        ? ready
        : `${ready}; it serves ${models} models, before the rotation ${seen.models}: stored or deleted meanwhile, or config.yaml was edited before`;
    }),
    swap: step('swap', 'Restore the stored values', async (summary) => {
      const { rows, resealedValues } = await undo.restoreValues.executeWithOptions({ summary }, [
        { ...job, promoted },
      ]);
      return `${rows} rows byte for byte${resealedValues > 0 ? `, ${resealedValues} newer values under the previous key` : ''}`;
    }),
    secrets: step('secrets', 'Restore the secret files', async (summary) => {
      promoted = true;
      const { written } = await undo.restoreSecrets.executeWithOptions({ summary }, [job]);
      return `${written} ${written === 1 ? 'file' : 'files'} byte for byte`;
    }),
    start: step('start', 'Stop the service', async (summary) => {
      progress.serving(false);
      const { detail } = await undo.stopServiceAgain.executeWithOptions({ summary }, [job]);
      return detail;
    }),
  };
}
