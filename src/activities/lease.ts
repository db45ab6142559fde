import { failureTypes, RotationError } from '../rotation/failure.ts';
import { takeFence, withHeartbeat } from './context.ts';
import type { Job, Ports, Target } from './ports.ts';

/** The lease: one rotation a database, whoever starts it and under whatever workflow id. */
export function createLeaseActivities(ports: Ports) {
  return {
    /** Refuses a target that the worker's configuration does not have, and says what it allows. */
    // oxlint-disable-next-line typescript/require-await -- an activity is asynchronous
    async findTarget(job: Job): Promise<{
      maxOutageSeconds: number | null;
      readsFormats: readonly string[];
      rehearsedAlways: boolean;
    }> {
      const { timing, readsFormats, rehearsal } = ports.target(job.target);
      const { maxOutageMs } = timing;
      return {
        maxOutageSeconds: maxOutageMs === undefined ? null : maxOutageMs / 1000,
        readsFormats,
        rehearsedAlways: rehearsal?.always ?? false,
      };
    },

    /**
     * Takes the lease, and says what it found of this rotation (a workflow that was reset begins again in the middle).
     * A lease whose workflow has ended (terminated, timed out) is not broken here: its rotation is returned as
     * `unfinished`, for the workflow to converge first.
     */
    async takeLease(
      job: Job & { workflowId: string; runId: string },
    ): Promise<{ unfinished: string | null; found: 'nothing' | 'a beginning' | 'an end' }> {
      const { database, store } = ports.target(job.target);
      return withHeartbeat(async () => {
        await database.prepareJournal();
        const { acquired, holder } = await database.acquireLease(job);
        if (acquired) {
          if ((await store.observe(job.rotation)).prepared) return { unfinished: null, found: 'a beginning' };
          const { side } = await database.observe(job.rotation);
          return { unfinished: null, found: side === 'pending' ? 'an end' : 'nothing' };
        }
        if (await ports.isRunning(holder.workflowId, holder.rotation)) {
          throw new RotationError(
            failureTypes.leaseHeld,
            `${database.description}: found rotation ${holder.rotation} of target ${holder.target} at work since ${holder.since}; ` +
              `expected none, as one database takes one rotation at a time; follow it with "litellm-rotate status ${holder.workflowId}"`,
            { facts: { ...holder } },
          );
        }
        if (holder.target !== job.target && (await mayHaveChanged(database, store, holder.rotation))) {
          throw new RotationError(
            failureTypes.refused,
            `${database.description}: found what rotation ${holder.rotation} of target ${holder.target} left, whose workflow has ended; ` +
              `expected to lead it to one side as that target, whose files and service it is about; run: litellm-rotate reconcile ${holder.target}; if that target has another name now, give it that one until this is done; if the database is a copy, see docs/recovery/close.sql`,
          );
        }
        return { unfinished: holder.rotation, found: 'nothing' };
      });
    },

    async releaseLease(job: Job): Promise<{ released: boolean }> {
      const { database } = ports.target(job.target);
      return withHeartbeat(async () => {
        const isOurs = async () => (await database.lease())?.rotation === job.rotation;
        if (!(await isOurs())) return { released: false };
        try {
          await database.releaseLease(await takeFence(database, job.rotation));
        } catch (error) {
          // An earlier attempt, of a worker that was frozen, may have released it in the meantime.
          if (await isOurs()) throw error;
          return { released: false };
        }
        return { released: true };
      });
    },
  };
}

/** A rotation that has staged nothing and made no keys has nothing to lead, whatever its target is called. */
async function mayHaveChanged(
  database: Target['database'],
  store: Target['store'],
  rotation: string,
): Promise<boolean> {
  const { side, staged } = await database.observe(rotation);
  return side === 'pending' || staged > 0 || (await store.observe(rotation)).prepared;
}
