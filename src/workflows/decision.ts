import { ApplicationFailure, CancellationScope, condition, setHandler } from '@temporalio/workflow';
import { failureTypes } from '../rotation/failure.ts';
import { describeFailure } from './failures.ts';
import { resumeUpdate, rollbackUpdate } from './messages.ts';
import { looks } from './policies.ts';
import type { Rotation } from './rotation.ts';

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

/** Says that a person is needed, and which side every part is on: that is where one starts from. */
export async function reportParts(
  { job, progress }: Pick<Rotation, 'job' | 'progress'>,
  problem: string,
): Promise<void> {
  const summary = 'Look at which side each part is on';
  const seen = await CancellationScope.nonCancellable(() =>
    looks.observeParts.executeWithOptions({ summary }, [job]),
  ).then(
    (parts) =>
      `Database: ${parts.database} key. Secret files: ${parts.secrets}. Service: ${parts.service}. Both keys are ${parts.prepared ? 'kept' : 'not kept'}.`,
    (error: unknown) => `The parts could not be looked at: ${describeFailure(error)}`,
  );
  progress.enter('needs a person', 'needs a person', `${problem}\n${seen}`);
}
