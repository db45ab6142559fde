import { generateKey } from '../litellm/new-keys.ts';
import { nextKeys, type RotationCase } from '../rotation/case.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import { type KeyFingerprints, signingKey } from '../rotation/keys.ts';
import { fingerprintsOf } from './generations.ts';
import { takeFence, withHeartbeat } from './context.ts';
import type { Job, Ports, Target } from './ports.ts';
import type { Side } from './proofs.ts';

/** Pending keys: made once, durable before anything is sealed with them. */
export function createKeyActivities(ports: Ports) {
  return {
    /** Makes the pending keys and fixes them in the store's slot; a second call finds and returns the first one's. */
    async generateKeys(
      job: Job & { rotationCase: RotationCase },
    ): Promise<{ previous: KeyFingerprints; pending: KeyFingerprints }> {
      const target = ports.target(job.target);
      return withHeartbeat(async () => {
        const fence = await takeFence(target.database, job.rotation);
        const { previous, pending } = await target.store.prepare(job.rotation, fence, (current) =>
          nextKeys(current, job.rotationCase, generateKey),
        );
        return {
          previous: await fingerprintsOf(ports, target, previous),
          pending: await fingerprintsOf(ports, target, pending),
        };
      });
    },

    /** After a rollback: destroys the pending keys, which nothing uses. */
    async discardPendingKeys(job: Job): Promise<void> {
      const target = ports.target(job.target);
      return withHeartbeat(async () => {
        const fence = await takeFence(target.database, job.rotation);
        await refuseNeededKeys(target, job, 'previous');
        await target.store.discard(job.rotation, fence, 'previous');
      });
    },

    /** The pivot: destroys the previous keys and the before-images. From here on, only another rotation leads on. */
    async destroyPreviousKeys(job: Job): Promise<void> {
      const target = ports.target(job.target);
      return withHeartbeat(async () => {
        const fence = await takeFence(target.database, job.rotation);
        await refuseNeededKeys(target, job, 'pending');
        if ((await target.store.generations(job.rotation)) === undefined) await refuseOtherKeys(target, job);
        await target.store.discard(job.rotation, fence, 'pending');
        await target.database.dropStaged(fence, 'pending');
      });
    },

    /** The cutover of the files: pending becomes current. */
    async writeSecrets(job: Job): Promise<{ written: number; alreadyDone: number }> {
      const { database, store } = ports.target(job.target);
      return withHeartbeat(async () => {
        return store.promote(job.rotation, await takeFence(database, job.rotation));
      });
    },

    /** Puts every file back byte for byte. */
    async restoreSecrets(job: Job): Promise<{ written: number; alreadyDone: number }> {
      const { database, store } = ports.target(job.target);
      return withHeartbeat(async () => {
        if ((await store.generations(job.rotation)) === undefined) return { written: 0, alreadyDone: 0 };
        return store.restore(job.rotation, await takeFence(database, job.rotation));
      });
    },
  };
}

/**
 * The files alone do not say which keys can go: a standby that took over without the last transactions brings back a
 * database of before the swap.
 */
async function refuseNeededKeys({ database }: Target, { target, rotation }: Job, side: Side): Promise<void> {
  const found = (await database.observe(rotation)).side;
  if (found === side) return;
  throw new RotationError(
    failureTypes.changedElsewhere,
    `${database.description}: found it under the ${found} key of rotation ${rotation}, expected the ${side} one; both keys are kept, as the other is still needed; run litellm-rotate reconcile ${target}`,
  );
}

/**
 * A slot is gone because its keys were destroyed, and then the files hold the key that the database is under; or because
 * somebody removed it, or looks elsewhere for it, and then the before-images may be the only way to values that open.
 */
async function refuseOtherKeys({ database, store }: Target, { rotation }: Job): Promise<void> {
  const { current } = await store.inspect(rotation);
  if (current !== undefined && (await database.isUnder(signingKey(current))) === true) return;
  throw new RotationError(
    failureTypes.changedElsewhere,
    `${store.description}: found no slot of rotation ${rotation}, and ${current === undefined ? 'no usable key' : 'another key than the one that the database is under'}; expected the slot, or that key; the before-images are kept; bring the slot back, or go back to the key of the files: see "recovery by hand" in docs/runbook.md`,
  );
}
