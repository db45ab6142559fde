import type { RestoreReport, SwapReport } from '../reencryption/port.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import { takeFence, withHeartbeat } from './context.ts';
import { awaitFence } from './fence-proof.ts';
import { generationsOf, transitionOf } from './generations.ts';
import type { Job, Ports, Target } from './ports.ts';

/** The stored values: staged beside the old ones, swapped in one transaction, put back in one. */
export function createValueActivities(ports: Ports) {
  return {
    /** `expected` is how many values preflight saw: how far stage is, is told by it. */
    async stageValues(job: Job & { expected: number }): Promise<{ values: number; rows: number }> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal, progress) => {
        const transition = transitionOf(target, await generationsOf(target, job));
        const fence = await takeFence(target.database, job.rotation);
        const report: typeof progress = (step) => progress({ total: job.expected, ...step });
        return target.database.stage(transition, fence, report, signal);
      });
    },

    /** Not beside a LiteLLM that somebody has started since the fence was proved: an attempt may come minutes after that. */
    async swapValues(job: Job): Promise<SwapReport> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal, progress) => {
        const generations = await generationsOf(target, job);
        if ((await target.database.observe(job.rotation)).side === 'previous') {
          await refuseChangedFiles(target, job);
          await refuseWriters(target, signal);
        }
        const master = { from: generations.previous.master, to: generations.pending.master };
        const fence = await takeFence(target.database, job.rotation);
        return target.database.swap(transitionOf(target, generations), master, fence, progress);
      });
    },

    /** `promoted`: the key files were on the pending keys, so LiteLLM may have stored under them, whatever the marker says. */
    async restoreValues({ promoted = false, ...job }: Job & { promoted?: boolean }): Promise<RestoreReport> {
      const target = ports.target(job.target);
      return withHeartbeat(async (_signal, progress) => {
        // Before the look: an attempt that is frozen in the middle of its swap could commit it afterwards.
        const fence = await takeFence(target.database, job.rotation);
        if (!promoted && (await target.database.observe(job.rotation)).side === 'previous')
          return { rows: 0, resealedValues: 0 };
        const generations = await generationsOf(target, job);
        const master = { from: generations.previous.master, to: generations.pending.master };
        return target.database.restore(transitionOf(target, generations), master, fence, progress, promoted);
      });
    },

    async dropStagedValues(job: Job): Promise<void> {
      const { database } = ports.target(job.target);
      return withHeartbeat(async () => {
        await database.dropStaged(await takeFence(database, job.rotation), 'previous');
      });
    },
  };
}

/** Before the swap an edit by somebody else is a reason to go back; after it, it would be a person's work to mend. */
async function refuseChangedFiles({ store }: Target, { rotation }: Job): Promise<void> {
  const { parts } = await store.observe(rotation);
  const changed = parts.filter(({ side }) => side === 'changed').map(({ where }) => where);
  if (changed.length === 0) return;
  throw new RotationError(
    failureTypes.changedElsewhere,
    `${changed.join(', ')}: found a change made since the pending keys were written; expected the bytes that preflight saw; nothing was changed, the edit stays; run the rotation again`,
  );
}

async function refuseWriters(target: Target, signal: AbortSignal): Promise<void> {
  const obstacle = await awaitFence(target, signal);
  if (obstacle === undefined) return;
  throw new RotationError(
    failureTypes.changedElsewhere,
    `${obstacle}, which somebody has started since LiteLLM was stopped; expected nothing that could write with the current key; nothing was swapped; find out what starts it, and rotate again`,
  );
}
