import { ApplicationFailure } from '@temporalio/workflow';
import { failureTypes } from '../rotation/failure.ts';
import type { Plan } from '../rotation/plan.ts';
import {
  describeOutageParts,
  judgeRehearsal,
  type Rehearsed,
  rehearsedOutageMs,
} from '../rotation/rehearsal.ts';
import { service, undo, values } from './policies.ts';
import type { Rotation } from './rotation.ts';

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/**
 * The whole rotation on a clone, with the pending keys, while LiteLLM serves undisturbed. Rejects when any of it fails, or
 * when it took longer than an outage may; the clone is destroyed either way.
 */
export async function rehearse(
  { job, progress, pausing, undo: steps, back }: Rotation,
  plan: Plan,
): Promise<Rehearsed> {
  const around = <T>(call: () => Promise<T>) => pausing.around(call);
  steps.add(back.clone);
  const {
    clone,
    ms: cloneMs,
    seen,
  } = await progress.run(
    values.cloneDatabase,
    job,
    'Clone the database for the rehearsal',
    (made) => `by ${made.clone}, ${seconds(made.ms)}`,
    around,
  );
  const rotated = await progress.run(
    values.rotateClone,
    { ...job, expected: plan.database.values },
    'Rotate the clone',
    (done) =>
      `${done.values} values in ${done.rows} rows, stage ${seconds(done.stageMs)}, swap ${seconds(done.swapMs)}`,
    around,
  );
  // Preflight may be days ago, as a pause may last, and people store and delete models meanwhile.
  const { models, modelsDigest } = seen ?? plan.proxy;
  const proved = await progress.run(
    service.proveClone,
    { ...job, models, modelsDigest, tolerate: plan.service.decryptionErrors > 0 },
    'Start LiteLLM on the clone with the new keys, and verify it',
    (done) => `ready after ${seconds(done.startMs)}, stopped in ${seconds(done.stopMs)}`,
    around,
  );
  await progress.run(undo.destroyClone, job, 'Destroy the clone');
  steps.done(back.clone.name);
  const rehearsed: Rehearsed = { clone, cloneMs, ...rotated, ...proved };
  await progress.step(
    'Hold what the rehearsal measured against the outage that is allowed',
    () => {
      const problem = judgeRehearsal(plan, rehearsed);
      return problem === null ? Promise.resolve() : Promise.reject(tooLong(problem));
    },
    () => `${seconds(rehearsedOutageMs(rehearsed))} expected: ${describeOutageParts(rehearsed)}`,
  );
  return rehearsed;
}

function tooLong(problem: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(problem, failureTypes.refused);
}
