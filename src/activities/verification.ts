import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { KeyPair } from '../rotation/keys.ts';
import { pause, takeFence, withHeartbeat } from './context.ts';
import { generationsOf, transitionOf } from './generations.ts';
import type { Job, Ports, Target } from './ports.ts';
import { digestOf, randomKey } from './preflight.ts';

/** LiteLLM may answer the previous key from a cache for a while. */
const refusalTimeoutMs = 60_000;

/** The side that must hold: `pending` after a cutover, `previous` after a rollback. */
type Side = 'pending' | 'previous';

/** The proof of a side, on every replica and in the database. */
export function createVerificationActivities(ports: Ports) {
  return {
    /** The side's master key gets 200, a random key and the other side's get 401, and the process has the side's keys. */
    async verifyKeys(job: Job & { side: Side }): Promise<void> {
      const target = ports.target(job.target);
      const generations = await generationsOf(target, job);
      const other = job.side === 'pending' ? generations.previous : generations.pending;
      const expected = generations[job.side];
      await withHeartbeat(async (signal) => {
        await verifyEnvironment(target, expected);
        for (const proxy of target.proxies) {
          const fail = (found: string) => {
            throw new RotationError(
              failureTypes.wrongKey,
              `${proxy.url}: found that it ${found}; expected only the ${job.side} master key to be accepted`,
            );
          };
          if ((await proxy.tryKey(expected.master)) !== 'accepted')
            fail(`refuses the ${job.side} master key`);
          if ((await proxy.tryKey(randomKey())) === 'accepted') fail('accepts a random key');
          if (other.master.equals(expected.master)) continue;
          const deadline = Date.now() + refusalTimeoutMs;
          while ((await proxy.tryKey(other.master)) === 'accepted') {
            if (Date.now() > deadline)
              fail(`still accepts the ${job.side === 'pending' ? 'previous' : 'pending'} master key`);
            await pause(1_000, signal);
          }
        }
      });
    },

    /** The same models are served as preflight saw. */
    async verifyModels(
      job: Job & { side: Side; models: number; modelsDigest: string },
    ): Promise<{ models: number }> {
      const target = ports.target(job.target);
      const generations = await generationsOf(target, job);
      await withHeartbeat(async (signal) => {
        const deadline = Date.now() + target.timing.readyTimeoutMs;
        for (const proxy of target.proxies) {
          for (;;) {
            const models = (await proxy.models(generations[job.side].master)).filter(
              (name) => !isCanary(name),
            );
            if (digestOf(models) === job.modelsDigest) break;
            // Right after a start, LiteLLM serves before it has loaded the models from its database.
            if (Date.now() > deadline || models.length > job.models) {
              throw new RotationError(
                failureTypes.wrongKey,
                `${proxy.url}: found ${models.length} models, expected the ${job.models} of before the rotation; a model whose credential does not open is dropped silently`,
              );
            }
            await pause(1_000, signal);
          }
        }
      });
      return { models: job.models };
    },

    /**
     * Sealed values open with the new key, and none with another. How many there must be was proved inside the swap's
     * transaction; since then the proxy serves, and its users may store and delete.
     */
    async verifyDatabase(job: Job & { swapped: number }): Promise<{ values: number; unreadable: number }> {
      const target = ports.target(job.target);
      const generations = await generationsOf(target, job);
      return withHeartbeat(async (_signal, progress) => {
        const { known, to } = transitionOf(target, generations);
        const count = await target.database.count(to, known, progress);
        if (count.underOthers > 0 || (job.swapped > 0 && count.underExpected === 0)) {
          throw new RotationError(
            failureTypes.countMismatch,
            `${target.database.description}: found ${count.underExpected} values under the key in force and ${count.underOthers} under a previous one; expected all of them under the key in force; look for another LiteLLM on the same database`,
          );
        }
        return { values: count.underExpected, unreadable: count.unreadable };
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
    }> {
      const { database, store, service } = ports.target(job.target);
      return withHeartbeat(async () => {
        const [values, secrets, state] = await Promise.all([
          database.observe(job.rotation),
          store.observe(job.rotation),
          service.observe(),
        ]);
        return {
          database: values.side,
          staged: values.staged,
          secrets: secrets.side,
          prepared: secrets.prepared,
          service: state.detail,
          running: state.state === 'running',
        };
      });
    },
  };
}

function isCanary(model: string): boolean {
  return model.startsWith('litellm-rotate-canary');
}

async function verifyEnvironment(target: Target, keys: KeyPair): Promise<void> {
  const given = await target.service.environment([target.variables.master, target.variables.salt]);
  for (const [name, key] of [
    [target.variables.master, keys.master],
    [target.variables.salt, keys.salt],
  ] as const) {
    const value = given.get(name) ?? 'unknown';
    if (value === 'unknown' || (value === 'absent' && key === undefined)) continue;
    if (value !== 'absent' && value.given.equals(key)) continue;
    throw new RotationError(
      failureTypes.wrongKey,
      `${target.service.description}: found that the running process ${value === 'absent' ? 'was not given' : 'has another value for'} ${name}; expected the value of the secret files; check which files the service reads`,
    );
  }
}
