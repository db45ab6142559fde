import { CancellationScope } from '@temporalio/workflow';

/** A step back. It looks at what is there, so running it when its step never happened changes nothing. */
export interface Compensation {
  /** Unique in a rotation. */
  readonly name: string;
  readonly run: () => Promise<void>;
}

/**
 * The steps back of a rotation, newest first. Add one *before* its step: a step that timed out may have happened.
 * A compensation that fails stops the rest and stays on the list, so that running again goes on where it stopped.
 */
export class Compensations {
  readonly #steps: Compensation[] = [];

  /** Adds a step back, unless it is on the list already (a rotation that goes forward again after a failed rollback). */
  add(step: Compensation): void {
    if (!this.has(step.name)) this.#steps.push(step);
  }

  /** Takes a step off that was undone on the way forward. */
  done(name: string): void {
    const at = this.#steps.findIndex((step) => step.name === name);
    if (at >= 0) this.#steps.splice(at, 1);
  }

  /** Whether a step is still to be undone. */
  has(name: string): boolean {
    return this.#steps.some((step) => step.name === name);
  }

  /** Past the pivot there is no way back. */
  clear(): void {
    this.#steps.length = 0;
  }

  /**
   * Runs them, newest first, down to the one named (which stays, with the older ones) or all; shielded from the
   * cancellation that may have brought us here. Rejects with the first failure.
   */
  async run(downTo?: string): Promise<void> {
    await CancellationScope.nonCancellable(async () => {
      for (
        let step = this.#steps.at(-1);
        step !== undefined && step.name !== downTo;
        step = this.#steps.at(-1)
      ) {
        await step.run();
        this.#steps.pop();
      }
    });
  }
}
