import type { CloneMethod, Rehearsal } from '../rehearsal/port.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { Finding } from '../rotation/finding.ts';
import { takeFence, withHeartbeat } from './context.ts';
import { generationsOf, ofSide, secretsOf, transitionOf } from './generations.ts';
import { lookAtProxies } from './keys-in-force.ts';
import type { Job, Ports, Target } from './ports.ts';
import { proveAccepted, proveKeys, proveModels, proveValues, type SeenModels } from './proofs.ts';
import {
  assertDecrypting,
  proveCanary,
  proveOnClone,
  untilReady,
  watchOutput,
  withOutput,
} from './spare-proofs.ts';

/** The rehearsal: all of the rotation on a clone, and a LiteLLM that nobody calls. The service is not touched. */
export function createRehearsalActivities(ports: Ports) {
  return {
    /** Whether it can be held. A target without a place for it is a finding. */
    async inspectRehearsal(job: Job): Promise<{ description: string; findings: readonly Finding[] }> {
      const { rehearsal } = ports.target(job.target);
      return withHeartbeat(async () =>
        rehearsal === undefined
          ? { description: 'nowhere', findings: [noRehearsal(job)] }
          : { description: rehearsal.description, findings: await rehearsal.inspect() },
      );
    },

    /** Makes the clone anew. `seen`: what the proxy serves right before it, as far as it answers as it should. */
    async cloneDatabase(job: Job): Promise<{ clone: CloneMethod; ms: number; seen: SeenModels | null }> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal) => {
        const { previous } = await generationsOf(target, job);
        const { seen, findings } = await lookAtProxies(target.proxies, previous.master);
        const fence = await takeFence(target.database, job.rotation);
        const rehearsal = rehearsalOf(target);
        const since = performance.now();
        const clone = await rehearsal.clone(fence, signal);
        return { clone, ms: elapsed(since), seen: findings.length === 0 ? seen : null };
      });
    },

    /** Stage, swap and scan on the clone, as they will be on the target. */
    async rotateClone(
      job: Job & { expected: number },
    ): Promise<{ values: number; rows: number; stageMs: number; swapMs: number }> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal, progress) => {
        const generations = await generationsOf(target, job);
        const transition = transitionOf(target, generations);
        const master = { from: generations.previous.master, to: generations.pending.master };
        const rehearsal = rehearsalOf(target);
        const clone = rehearsal.open(job.rotation);
        try {
          await clone.prepareJournal();
          await clone.acquireLease({ ...job, workflowId: 'rehearsal', runId: '' });
          const fence = await takeFence(clone, job.rotation);
          const report: typeof progress = (step) => progress({ total: job.expected, ...step });
          const staging = performance.now();
          await clone.stage(transition, fence, report, signal);
          const swapping = performance.now();
          const { values, rows } = await clone.swap(transition, master, fence, progress);
          const swapMs = elapsed(swapping);
          await proveValues(clone, transition, values, progress, signal);
          return { values, rows, stageMs: Math.round(swapping - staging), swapMs };
        } catch (error) {
          throw await rehearsal.judgeFailure(job.rotation, error);
        } finally {
          await clone.close();
        }
      });
    },

    /**
     * Boots LiteLLM on the clone with the pending keys, holds the verification, and ends it. One activity, as the process
     * must not outlive whoever watches it; one whose worker was killed is found and ended by the next attempt.
     */
    async proveClone(
      job: Job & SeenModels & { tolerate: boolean },
    ): Promise<{ startMs: number; stopMs: number }> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal) => {
        const generations = await generationsOf(target, job);
        const rehearsal = rehearsalOf(target);
        await rehearsal.quieten(job.rotation);
        const since = performance.now();
        const spare = await rehearsal.boot(job.rotation, generations.pending, signal);
        let startMs: number;
        try {
          await untilReady(spare, rehearsal, signal);
          startMs = elapsed(since);
          await proveOnClone(rehearsal, job, signal);
          await proveAccepted(spare.proxy, generations.pending, 'pending');
          // Before more is sent: whoever has taken the port can open nothing, and must not be sent the previous key, which is in force.
          await proveCanary(target, spare, job, generations, signal);
          await proveKeys(spare.proxy, ofSide(generations, 'pending'), 'pending', signal);
          const { master } = generations.pending;
          await proveModels(spare.proxy, master, job, rehearsal.readyTimeoutMs, signal, () =>
            assertDecrypting(spare, job.tolerate),
          );
          await watchOutput(spare, target.timing.observeMs, job.tolerate, signal);
        } catch (error) {
          await spare.stop();
          throw withOutput(error, spare, ports.createRedactor(secretsOf(generations)));
        }
        const stopping = performance.now();
        await spare.stop();
        return { startMs, stopMs: elapsed(stopping) };
      });
    },

    /** Ends what runs on the clone, and drops it. */
    async destroyClone(job: Job): Promise<{ destroyed: boolean }> {
      const { rehearsal } = ports.target(job.target);
      return withHeartbeat(async () => (await rehearsal?.destroy(job.rotation)) ?? { destroyed: false });
    },
  };
}

const elapsed = (since: number): number => Math.round(performance.now() - since);

function noRehearsal({ target }: Job): Finding {
  return {
    severity: 'blocking',
    code: 'no-rehearsal',
    where: `target ${target} of the worker's configuration`,
    found: 'no "rehearsal", and one was asked for',
    expected: 'where to make the clone, and how to start LiteLLM on it',
    next: 'add rehearsal to the target, as docs/configuration.md has it, or rotate without --rehearse',
  };
}

function rehearsalOf({ name, rehearsal }: Target): Rehearsal {
  if (rehearsal !== undefined) return rehearsal;
  throw new RotationError(
    failureTypes.refused,
    `target ${name}: found no "rehearsal" in the worker's configuration any more; expected the one that preflight saw`,
  );
}
