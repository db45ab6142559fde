import { ApplicationFailure, CancellationScope, condition, setHandler } from '@temporalio/workflow';
import { failureTypes } from '../rotation/failure.ts';
import { resumeUpdate, rollbackUpdate } from './messages.ts';

type Choice = 'rollback' | 'resume';

/** What limits a person's choice. */
interface Limits {
  readonly pivoted: boolean;
  readonly cancelled: boolean;
  /** Whether what stage made is still there. */
  readonly staged: boolean;
}

/** A person's word, awaited when a rollback failed. Updates that make no sense are refused and leave no history. */
export class Decision {
  #choice: Choice | null = null;
  #waiting = false;

  constructor(limits: () => Limits) {
    for (const [update, choice, description] of [
      [rollbackUpdate, 'rollback', 'Go on rolling back, from the compensation that failed'],
      [resumeUpdate, 'resume', 'Go forward again; what is done is not done twice'],
    ] as const) {
      const take = () => {
        this.#choice = choice;
      };
      const validator = () => {
        const problem = this.#waiting
          ? refusalOf(choice, limits())
          : 'the rotation does not wait for a person';
        if (problem !== null) throw ApplicationFailure.nonRetryable(problem, failureTypes.refused);
      };
      setHandler(update, take, { validator, description });
    }
  }

  async wait(): Promise<Choice> {
    this.#waiting = true;
    this.#choice = null;
    await CancellationScope.nonCancellable(() => condition(() => this.#choice !== null));
    this.#waiting = false;
    return this.#choice ?? 'rollback';
  }
}

function refusalOf(choice: Choice, { pivoted, cancelled, staged }: Limits): string | null {
  if (pivoted)
    return choice === 'resume'
      ? null
      : 'the previous keys are destroyed, so there is no way back; send "resume"';
  if (choice === 'rollback') return null;
  if (cancelled) return 'the rotation was cancelled, so it only goes back; send "rollback"';
  return staged ? null : 'what was staged is gone, so it only goes back; send "rollback"';
}
