import { CancellationScope, isCancellation, setHandler, workflowInfo } from '@temporalio/workflow';
import type { Plan } from '../rotation/plan.ts';
import type { RotationRequest } from '../rotation/request.ts';
import type { RotationResult } from '../rotation/status.ts';
import { createCompensations } from './compensations.ts';
import { Decision, reportParts } from './decision.ts';
import {
  describeFailure,
  endedFailure,
  isUnreconciled,
  readRequest,
  refusedCron,
  refusedPlan,
} from './failures.ts';
import { planQuery, statusQuery } from './messages.ts';
import { cutover, destroy, fence, release, stage, start, verify } from './phases.ts';
import { preflight } from './preflight.ts';
import { Pausing, refusePause } from './pausing.ts';
import { looks } from './policies.ts';
import { Progress } from './progress.ts';
import { resultSoFar } from './result.ts';
import type { Rotation, Staged } from './rotation.ts';
import { Compensations } from './saga.ts';

/**
 * Rotates the master key, the salt key, or both, of one LiteLLM deployment. Ends with the deployment wholly on the new
 * keys, or, when anything fails or it is cancelled before `finish`, byte for byte on the previous ones.
 */
export async function RotateMasterKey(...inputs: unknown[]): Promise<RotationResult> {
  const request = readRequest(inputs);
  // Every run of a cron workflow has the same first run, which is what a rotation is named by.
  if (workflowInfo().cronSchedule && !request.dryRun) throw refusedCron(request.target);
  return new RotationRun(request).run();
}

class RotationRun {
  readonly #request: RotationRequest;
  readonly #rotation: Rotation;
  readonly #decision: Decision;
  #plan: Plan | null = null;
  #planDigest = '';
  /** Kept for a rotation that goes forward again after a failed rollback. */
  #staged: Staged | null = null;
  /** Set at the pivot: the evidence is recorded, the way back is about to be destroyed. */
  #result: RotationResult | null = null;
  #destroyed = false;
  #endedByCancel = false;
  readonly #scope = CancellationScope.current();
  /** It went back in between, so that its outage is not one that the next rotation can expect. */
  #interrupted = false;

  constructor(request: RotationRequest) {
    this.#request = request;
    // Kept across a reset of the workflow, so that the run after it finds the same pending keys.
    const job = { target: request.target, rotation: workflowInfo().firstExecutionRunId };
    const progress = new Progress(job.rotation, request.target);
    const back = createCompensations(job, progress, () => this.#rotation.before);
    const pausing = new Pausing(
      () => refusePause(progress.status, request),
      (paused) => progress.pause(paused),
    );
    this.#rotation = { job, progress, pausing, undo: new Compensations(), back, before: null };
    this.#decision = new Decision(() => ({
      pivoted: this.#result !== null,
      cancelled: this.#cancelled,
      staged: this.#rotation.undo.has('stagedValues'),
    }));
    setHandler(statusQuery, () => progress.status, { description: 'Where the rotation is, step by step' });
    setHandler(planQuery, () => this.#plan, { description: 'What preflight found and what will be done' });
  }

  /** Also when the step that it came to failed by itself, or when it came while a person was waited for. */
  get #cancelled(): boolean {
    return this.#endedByCancel || this.#scope.consideredCancelled;
  }

  /** Forward; back when that fails; and when going back fails too, whichever way a person says. */
  async run(): Promise<RotationResult> {
    const { progress, pausing } = this.#rotation;
    for (;;) {
      try {
        return await (this.#result === null ? this.#forward() : this.#complete(this.#result));
      } catch (failure) {
        this.#endedByCancel ||= isCancellation(failure);
        const outcome = this.#outcomeOf(failure);
        this.#interrupted = true;
        pausing.end();
        if ((await this.#rollBack(failure)) === 'resume') continue;
        progress.enter(outcome === 'needs a person' ? outcome : 'done', outcome, describeFailure(failure));
        throw endedFailure(outcome, this.#request.target, failure);
      }
    }
  }

  /** Up to the end of a rehearsal nothing of LiteLLM's was touched, so there is nothing to roll back. */
  #outcomeOf(failure: unknown): 'refused' | 'rolled back' | 'needs a person' {
    const { progress, undo } = this.#rotation;
    if (isUnreconciled(failure)) return 'needs a person';
    if (this.#cancelled) return 'rolled back';
    return undo.has('pendingKeys') && progress.status.phase !== 'rehearse' ? 'rolled back' : 'refused';
  }

  async #forward(): Promise<RotationResult> {
    const rotation = this.#rotation;
    if (this.#staged === null) {
      ({ plan: this.#plan, digest: this.#planDigest } = await preflight(rotation, this.#request));
      rotation.before = this.#plan.proxy;
    }
    const plan = this.#plan;
    if (plan === null) throw new Error('preflight made no plan');
    if (this.#request.dryRun) {
      await release(rotation);
      rotation.progress.enter('done', 'planned');
      return { ...this.#summarise(`planned: ${plan.rotationCase.sentence}`), outcome: 'planned', plan };
    }
    if (plan.blocked) throw refusedPlan(plan);
    this.#staged ??= await stage(rotation, plan);
    await rotation.pausing.gate();
    const stoppedAt = await fence(rotation, plan);
    const { values, rows, lateValues, tokenRow, swapMs } = await cutover(rotation, plan);
    await start(rotation, plan);
    const restartMs = Date.now() - stoppedAt - swapMs;
    await verify(rotation, plan, this.#staged, values);
    return this.#finish({
      ...this.#summarise(`rotated: ${plan.rotationCase.sentence}`),
      fingerprints: {
        previous: this.#staged.fingerprints.previous,
        current: this.#staged.fingerprints.pending,
      },
      reencrypted: plan.rotationCase.reencrypt === null ? null : { values, rows, lateValues },
      tokenRow,
      outageParts: this.#interrupted ? null : { restartMs, swapMs },
    });
  }

  async #finish(result: RotationResult): Promise<RotationResult> {
    const { job, progress, undo } = this.#rotation;
    progress.enter('finish');
    await progress.run(
      looks.recordEvidence,
      { ...job, evidence: result },
      'Record the evidence in the journal',
    );
    // The pivot: from the first byte destroyed there is no way back, whatever cancels or fails.
    this.#result = result;
    undo.clear();
    return this.#complete(result);
  }

  async #complete(result: RotationResult): Promise<RotationResult> {
    await CancellationScope.nonCancellable(async () => {
      // Not twice: the lease that it is done under may have been released before something failed.
      if (!this.#destroyed) await destroy(this.#rotation);
      this.#destroyed = true;
      await release(this.#rotation);
    });
    this.#rotation.progress.enter('done', 'rotated', null);
    return { ...result, steps: this.#summarise('').steps };
  }

  /** `back` when the deployment is back on the previous keys; `resume` when a person chose to go forward again. */
  async #rollBack(failure: unknown): Promise<'back' | 'resume'> {
    const { progress, undo } = this.#rotation;
    const problem = describeFailure(failure);
    let decision: 'rollback' | 'resume' = 'rollback';
    if (this.#result === null) progress.enter('rollback', 'running', problem);
    while (decision === 'rollback') {
      if (this.#result !== null) {
        await reportParts(
          this.#rotation,
          `the new keys are in force and verified; what remains failed: ${problem}`,
        );
      } else {
        try {
          await undo.run();
          return 'back';
        } catch (undoFailure) {
          await reportParts(
            this.#rotation,
            `${problem}\nThe rollback then failed: ${describeFailure(undoFailure)}`,
          );
        }
      }
      decision = await this.#decision.wait();
      progress.enter('rollback', 'running', problem);
    }
    return 'resume';
  }

  #summarise(summary: string): RotationResult {
    return resultSoFar(
      this.#rotation,
      this.#request,
      this.#planDigest,
      this.#staged?.rehearsed ?? null,
      summary,
    );
  }
}
