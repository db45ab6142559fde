import { findDecryptionErrors } from '../litellm/decryption-errors.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { ServiceState } from '../services/port.ts';
import { pause, takeFence, withHeartbeat } from './context.ts';
import { awaitFence } from './fence-proof.ts';
import { generationsOf, secretsOf } from './generations.ts';
import { failureLines, withLastLines } from './last-lines.ts';
import type { Job, Ports, Target } from './ports.ts';
import { logLines } from './preflight.ts';
import { findStranger } from './stranger.ts';

const pollMs = 500;

/** The service: stopped and proved stopped, started once and proved ready. */
export function createServiceActivities(ports: Ports) {
  return {
    /**
     * Stops the service, unless a key file was changed meanwhile, or the pending keys are gone: then there must be no outage for a
     * rotation that cannot end.
     */
    async stopService(job: Job): Promise<{ detail: string }> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal) => {
        await generationsOf(target, job);
        const { side, parts } = await target.store.observe(job.rotation);
        if (side === 'changed') {
          const changed = parts.filter((part) => part.side === 'changed').map(({ where }) => where);
          throw new RotationError(
            failureTypes.changedElsewhere,
            `${changed.join(', ')}: found a change made since preflight, expected the bytes that the plan was made for; rotate again, with nobody editing the file`,
          );
        }
        return stop(target, job, signal);
      });
    },

    /**
     * For a rollback: stops whatever runs, without asking the files. Not without both keys, as after another workflow that
     * has led the same rotation forward meanwhile: what is stopped then could not be brought back.
     */
    async stopServiceAgain(job: Job): Promise<{ detail: string }> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal) => {
        await generationsOf(target, job);
        return stop(target, job, signal);
      });
    },

    /** Proves that nothing can write with the current key: no process, no open port, no session of the proxy's role. */
    async proveFenced(job: Job): Promise<{ detail: string }> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal) => {
        const obstacle = await awaitFence(target, signal);
        if (obstacle === undefined) return { detail: 'no process, no open port, no database session' };
        throw new RotationError(
          failureTypes.serviceFailed,
          `${obstacle} after the service was stopped; expected nothing that could write with the current key; end it; if it is not LiteLLM's, set database.proxyRole to the role that LiteLLM connects as`,
        );
      });
    },

    /** Starts the service once, on keys that the database is under. */
    async startService(job: Job): Promise<{ instance: string | null; detail: string }> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal) => {
        const fence = await takeFence(target.database, job.rotation);
        await refuseOtherSide(target, job);
        const state = await withLogOnFailure(ports, target, job, () => target.service.start(fence, signal));
        return { instance: state.instance ?? null, detail: state.detail };
      });
    },

    /** Waits until every replica is ready, in the start of the service that is named (null where none can be). */
    async awaitReady(job: Job & { instance: string | null }): Promise<{ seconds: number }> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal) =>
        withLogOnFailure(ports, target, job, () => waitUntilReady(target, job.instance ?? undefined, signal)),
      );
    },

    /** Watches the log of this start for values that LiteLLM could not decrypt; those of before the rotation are tolerated. */
    async watchServiceLog(
      job: Job & { tolerate: boolean },
    ): Promise<{ lines: number | null; errors: number; seconds: number }> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal) => {
        const first = await target.service.observe();
        const deadline = Date.now() + target.timing.observeMs;
        for (;;) {
          const now = await target.service.observe();
          if (now.state !== 'running' || now.instance !== first.instance)
            throw died(target, now, first.instance);
          const lines =
            now.instance === undefined ? undefined : await target.service.log(now.instance, logLines);
          const errors = findDecryptionErrors(lines ?? []);
          if (errors > 0 && !job.tolerate) {
            throw new RotationError(
              failureTypes.wrongKey,
              `${target.service.description}: found ${errors} decryption errors in the log of this start, expected none; see docs/runbook.md, "decryption errors"`,
            );
          }
          if (Date.now() >= deadline)
            return {
              lines: lines?.length ?? null,
              errors,
              seconds: Math.round(target.timing.observeMs / 1000),
            };
          await pause(Math.min(5_000, Math.max(pollMs, deadline - Date.now())), signal);
        }
      });
    },
  };
}

async function stop(target: Target, job: Job, signal: AbortSignal): Promise<{ detail: string }> {
  await Promise.all(target.proxies.map((proxy) => proxy.locate()));
  const state = await target.service.stop(await takeFence(target.database, job.rotation), signal);
  return { detail: state.detail };
}

/** A standby that took over without the last transactions is on the other side: LiteLLM would store under a key that goes. */
async function refuseOtherSide({ database, store }: Target, { rotation }: Job): Promise<void> {
  const [{ side }, files] = await Promise.all([database.observe(rotation), store.observe(rotation)]);
  if (files.side !== (side === 'pending' ? 'previous' : 'pending')) return;
  throw new RotationError(
    failureTypes.changedElsewhere,
    `${database.description}: found it under the ${side} key of rotation ${rotation}, and the key files with the ${files.side} one; expected both on one side; LiteLLM was not started; look whether another server took over from this database without its last transactions`,
  );
}

async function waitUntilReady(
  target: Target,
  instance: string | undefined,
  signal: AbortSignal,
): Promise<{ seconds: number }> {
  const startedAt = Date.now();
  for (;;) {
    const state = await target.service.observe();
    if (state.state === 'failed' || state.state === 'stopped') throw died(target, state, instance);
    if (instance !== undefined && state.instance !== instance) throw died(target, state, instance);
    const answers = await Promise.all(
      target.proxies.map((proxy) => proxy.readiness().catch(() => ({ ready: false, detail: 'no answer' }))),
    );
    const seconds = Math.round((Date.now() - startedAt) / 100) / 10;
    if (answers.every(({ ready }) => ready)) {
      const stranger = await findStranger(target);
      if (stranger === undefined) return { seconds };
      throw new RotationError(
        failureTypes.serviceFailed,
        `${stranger}; expected LiteLLM alone, as its keys are sent there; end that process`,
      );
    }
    if (Date.now() - startedAt > target.timing.readyTimeoutMs) {
      const details = target.proxies.map(
        ({ url }, index) => `${url}: ${answers[index]?.detail ?? 'no answer'}`,
      );
      throw new RotationError(
        failureTypes.serviceFailed,
        `${details.join('; ')}: not ready ${seconds} s after the start; expected ready within ${target.timing.readyTimeoutMs / 1000} s; look at the service's log`,
      );
    }
    await pause(pollMs, signal);
  }
}

function died(target: Target, state: ServiceState, instance: string | undefined): RotationError {
  return new RotationError(
    failureTypes.serviceFailed,
    `${target.service.description}: found ${state.detail}; expected the start of this rotation to stay up; look at its log`,
    { facts: { instance } },
  );
}

/** A service that does not come up says why in its log; the last lines, without secrets, belong to the failure. */
async function withLogOnFailure<T>(
  ports: Ports,
  target: Target,
  job: Job,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof RotationError) || error.type !== failureTypes.serviceFailed) throw error;
    // A service that is gone names no instance any more; the failure knows which start it is about.
    const observed = await target.service.observe().catch(() => undefined);
    const instance = (error.facts?.['instance'] as string | undefined) ?? observed?.instance;
    const lines =
      instance === undefined
        ? undefined
        : await target.service.log(instance, failureLines).catch(() => undefined);
    if (lines === undefined || lines.length === 0) throw error;
    const generations = await target.store.generations(job.rotation);
    // What the keys are must be known to mask them.
    if (generations === undefined) throw error;
    throw withLastLines(error, 'log', lines, ports.createRedactor(secretsOf(generations)));
  }
}
