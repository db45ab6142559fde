import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  condition,
  isCancellation,
  setHandler,
} from '@temporalio/workflow';
import { failureTypes } from '../rotation/failure.ts';
import type { RotationRequest } from '../rotation/request.ts';
import type { RotationStatus } from '../rotation/status.ts';
import { continueUpdate, pauseUpdate } from './messages.ts';

/**
 * A person's pause, while LiteLLM still serves with its current keys: nothing of the rotation runs until it is continued.
 * It is part of the workflow's state, so no restart of a worker ends it; a cancellation does.
 */
export class Pausing {
  #paused = false;
  #running: { readonly scope: CancellationScope; stopped: boolean } | null = null;
  readonly #show: (paused: boolean) => void;

  /**
   * @param refusal why the rotation cannot be paused now, or null
   * @param show makes the pause visible
   */
  constructor(refusal: () => string | null, show: (paused: boolean) => void) {
    this.#show = show;
    const refuseFor = (problem: () => string | null) => () => {
      const found = problem();
      if (found !== null) throw ApplicationFailure.nonRetryable(found, failureTypes.refused);
    };
    setHandler(pauseUpdate, () => this.#pause(), {
      validator: refuseFor(() => (this.#paused ? 'the rotation is paused already' : refusal())),
      description: 'Stand still, before the outage; done when nothing runs any more',
    });
    setHandler(continueUpdate, () => this.#set(false), {
      validator: refuseFor(() => (this.#paused ? null : 'the rotation is not paused')),
      description: 'Go on after a pause, from where it stopped',
    });
  }

  /** Waits while the rotation is paused. Rejects when it is cancelled. */
  async gate(): Promise<void> {
    await condition(() => !this.#paused);
  }

  /**
   * Runs an activity that goes on where it stopped: a pause cancels it, and it is called again afterwards. Its heartbeat
   * timeout, not the length of its work, is what a pause waits for.
   */
  async around<T>(call: () => Promise<T>): Promise<T> {
    for (;;) {
      await this.gate();
      const running = { scope: new CancellationScope(), stopped: false };
      this.#running = running;
      try {
        return await running.scope.run(call);
      } catch (failure) {
        const cancelled = CancellationScope.current().consideredCancelled;
        if (!running.stopped || cancelled || !isEndedByCancel(failure)) throw failure;
      } finally {
        this.#running = null;
      }
    }
  }

  /** A rotation that goes back is not held up. */
  end(): void {
    if (this.#paused) this.#set(false);
  }

  async #pause(): Promise<void> {
    this.#set(true);
    const running = this.#running;
    if (running === null) return;
    running.stopped = true;
    running.scope.cancel();
    await condition(() => this.#running !== running);
  }

  #set(paused: boolean): void {
    this.#paused = paused;
    this.#show(paused);
  }
}

/** Why it cannot be paused; null when it can. A pause is for the time in which LiteLLM serves: later it would prolong the outage. */
export function refusePause(
  { phase }: Pick<RotationStatus, 'phase'>,
  { dryRun }: Pick<RotationRequest, 'dryRun'>,
): string | null {
  if (dryRun) return 'a dry run changes nothing, so there is nothing to pause';
  return phase === 'preflight' || phase === 'rehearse' || phase === 'stage'
    ? null
    : `the rotation is in phase ${phase}; expected preflight, rehearse or stage, as a later pause would prolong the outage`;
}

/**
 * Also of an attempt that failed or was lost in the moments before it heard of its cancellation: the server makes no
 * other one then.
 */
function isEndedByCancel(failure: unknown): boolean {
  return (
    isCancellation(failure) ||
    (failure instanceof ActivityFailure && failure.retryState === 'CANCEL_REQUESTED')
  );
}
