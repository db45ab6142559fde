import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { KeyPair } from '../rotation/keys.ts';
import { takeFence, withHeartbeat } from './context.ts';
import { generationsOf, keysOfSide, transitionOf } from './generations.ts';
import type { Job, Ports, Target } from './ports.ts';
import { awaitModels, proveKeys, proveModels, proveValues, type SeenModels, type Side } from './proofs.ts';

/** The proof of a side, on every replica and in the database. */
export function createVerificationActivities(ports: Ports) {
  return {
    /** The side's master key gets 200, a random key and the other side's get 401, and the process has the side's keys. */
    async verifyKeys(job: Job & { side: Side }): Promise<void> {
      const target = ports.target(job.target);
      const keys = await keysOfSide(target, job, job.side);
      await withHeartbeat(async (signal) => {
        await verifyEnvironment(target, keys.expected);
        for (const proxy of target.proxies) await proveKeys(proxy, keys, job.side, signal);
      });
    },

    /** The same models are served as preflight saw. */
    async verifyModels(job: Job & SeenModels): Promise<{ models: number }> {
      const target = ports.target(job.target);
      const { pending } = await generationsOf(target, job);
      await withHeartbeat(async (signal) => {
        for (const proxy of target.proxies)
          await proveModels(proxy, pending.master, job, target.timing.readyTimeoutMs, signal);
      });
      return { models: job.models };
    },

    /**
     * On the way back: which models are served, once they are those of before. Others are told and no failure: what was
     * stored or deleted meanwhile stays, and an edit of config.yaml comes with the start.
     */
    async countModels(job: Job & SeenModels): Promise<{ models: number; same: boolean }> {
      const target = ports.target(job.target);
      const { expected } = await keysOfSide(target, job, 'previous');
      return withHeartbeat(async (signal) => {
        let found: SeenModels = job;
        for (const proxy of target.proxies) {
          found = await awaitModels(proxy, expected.master, job, target.timing.readyTimeoutMs, signal);
          if (found.modelsDigest !== job.modelsDigest) break;
        }
        return { models: found.models, same: found.modelsDigest === job.modelsDigest };
      });
    },

    /**
     * Sealed values open with the new key, and none with another. How many there must be was proved inside the swap's
     * transaction; since then the proxy serves, and its users may store and delete.
     */
    async verifyDatabase(job: Job & { swapped: number }): Promise<{ values: number; unreadable: number }> {
      const target = ports.target(job.target);
      const generations = await generationsOf(target, job);
      return withHeartbeat(async (signal, progress) => {
        return proveValues(target.database, transitionOf(target, generations), job.swapped, progress, signal);
      });
    },

    /** Keeps the evidence in the journal. */
    async recordEvidence(job: Job & { evidence: unknown }): Promise<void> {
      const { database } = ports.target(job.target);
      return withHeartbeat(async () => {
        await database.record(await takeFence(database, job.rotation), 'evidence', job.evidence);
      });
    },

    /** Which side each part is on, by looking. */
    async observeParts(job: Job): Promise<{
      database: Side;
      staged: number;
      secrets: string;
      prepared: boolean;
      service: string;
      running: boolean;
      clone: boolean;
    }> {
      const { database, store, service, rehearsal } = ports.target(job.target);
      return withHeartbeat(async () => {
        const [values, secrets, state, clone] = await Promise.all([
          database.observe(job.rotation),
          store.observe(job.rotation),
          service.observe(),
          // One that cannot be looked for may be there: the attempt to destroy it says why.
          rehearsal?.exists(job.rotation).catch(() => true) ?? false,
        ]);
        return {
          database: values.side,
          staged: values.staged,
          secrets: secrets.side,
          prepared: secrets.prepared,
          service: state.detail,
          running: state.state === 'running',
          clone,
        };
      });
    },
  };
}

async function verifyEnvironment(target: Target, keys: KeyPair): Promise<void> {
  const given = await target.service.environment([target.variables.master, target.variables.salt]);
  for (const [name, key] of [
    [target.variables.master, keys.master],
    [target.variables.salt, keys.salt],
  ] as const) {
    const value = given.get(name) ?? 'unknown';
    if (value === 'unknown') continue;
    if (value === 'absent' && (key === undefined || target.readsKeysItself)) continue;
    if (value !== 'absent' && value.given.equals(key)) continue;
    throw new RotationError(
      failureTypes.wrongKey,
      `${target.service.description}: found that the running process ${value === 'absent' ? 'was not given' : 'has another value for'} ${name}; expected the value of the secret files; check which files the service reads`,
    );
  }
}
