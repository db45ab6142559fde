import type { ActivityOptions } from '@temporalio/common';
import { setCurrentDetails, setHandler, upsertSearchAttributes } from '@temporalio/workflow';
import { phases, type Outcome, type RotationStatus, type Step } from '../rotation/status.ts';
import { describeProgress, readProgressReport } from '../rotation/step-progress.ts';
import { progressSignal, searchAttributes } from './messages.ts';

/** An activity that takes one argument, as `proxyActivities` makes it. */
interface Callable<A, R> {
  executeWithOptions(options: ActivityOptions, args: [A]): Promise<R>;
}

/** What people see of a rotation while it runs: the query's answer, the current details, the search attributes. */
export class Progress {
  readonly #steps: Step[] = [];
  readonly #rotation: string;
  readonly #target: string;
  readonly #startedAt = Date.now();
  #phase: RotationStatus['phase'] = 'preflight';
  #outcome: Outcome = 'running';
  #paused = false;
  #problem: string | null = null;
  #endedAt: number | null = null;
  #outage: { from: number | null; ms: number | null } = { from: null, ms: null };

  constructor(rotation: string, target: string) {
    this.#rotation = rotation;
    this.#target = target;
    setHandler(progressSignal, (report) => this.#report(report), {
      description: 'How far a running step is',
    });
  }

  get status(): RotationStatus {
    return {
      rotation: this.#rotation,
      target: this.#target,
      phase: this.#phase,
      outcome: this.#shownOutcome,
      steps: this.#steps,
      startedAt: this.#startedAt,
      endedAt: this.#endedAt,
      outageMs: this.#outage.ms,
      problem: this.#problem,
    };
  }

  enter(
    phase: RotationStatus['phase'],
    outcome: Outcome = 'running',
    problem: string | null = this.#problem,
  ): void {
    this.#phase = phase;
    this.#outcome = outcome;
    this.#problem = problem;
    if (outcome !== 'running' && outcome !== 'needs a person') this.#endedAt = Date.now();
    this.#publish(true);
  }

  /** Shows that a person has paused the rotation, or let it go on. */
  pause(paused: boolean): void {
    this.#paused = paused;
    this.#publish(true);
  }

  /** Notes that the proxy stopped serving, or serves again. */
  serving(serves: boolean): void {
    if (!serves) this.#outage.from ??= Date.now();
    else if (this.#outage.from !== null) this.#outage.ms = Date.now() - this.#outage.from;
  }

  /**
   * Runs one activity as a step of its own; its title is the summary that the Temporal UI shows. `around` may call it more
   * than once.
   */
  run<A, R>(
    activity: Callable<A, R>,
    args: A,
    title: string,
    describe?: (result: R) => string,
    around: (call: () => Promise<R>) => Promise<R> = (call) => call(),
  ): Promise<R> {
    const activityId = this.#nextId;
    return this.step(
      title,
      () => around(() => activity.executeWithOptions({ summary: title, activityId }, [args])),
      describe,
    );
  }

  /** Shows some work as one step: running, done with its result, or failed. */
  async step<T>(
    title: string,
    work: () => Promise<T>,
    describe: (result: T) => string = () => '',
  ): Promise<T> {
    const phase = this.#phase === 'done' || this.#phase === 'needs a person' ? 'rollback' : this.#phase;
    const step: Step = {
      phase,
      title,
      state: 'running',
      result: '',
      progress: null,
      startedAt: Date.now(),
      endedAt: null,
    };
    this.#steps.push(step);
    this.#publish(false);
    try {
      const result = await work();
      step.state = 'done';
      step.result = describe(result);
      return result;
    } catch (error) {
      step.state = 'failed';
      throw error;
    } finally {
      step.endedAt = Date.now();
      this.#publish(false);
    }
  }

  get #shownOutcome(): Outcome {
    return this.#paused && this.#outcome === 'running' ? 'paused' : this.#outcome;
  }

  /** The id of the next step's activity, by which the activity names the step that its reports are of. */
  get #nextId(): string {
    return `step ${this.#steps.length + 1}`;
  }

  #report(report: unknown): void {
    const told = readProgressReport(report);
    const at = this.#steps.findLastIndex(({ state }) => state === 'running');
    const step = this.#steps[at];
    if (told === undefined || step === undefined || told.step !== `step ${at + 1}`) return;
    const { step: _, ...far } = told;
    step.progress = far;
    this.#publish(false);
  }

  #publish(searchable: boolean): void {
    setCurrentDetails(this.#markdown());
    // Each upsert is an event of the history: only where a phase begins.
    if (!searchable) return;
    upsertSearchAttributes([
      { key: searchAttributes.target, value: this.#target },
      { key: searchAttributes.phase, value: this.#phase },
      { key: searchAttributes.outcome, value: this.#shownOutcome },
    ]);
  }

  #markdown(): string {
    const heading = `**${this.#target}**: ${this.#shownOutcome}${this.#outcome === 'running' ? `, phase ${this.#phase}` : ''}`;
    const problem = this.#problem === null ? [] : ['', `> ${this.#problem.split('\n').join('\n> ')}`];
    const lines = [...phases, 'rollback' as const].flatMap((phase) => {
      const steps = this.#steps.filter((step) => step.phase === phase);
      return steps.length === 0
        ? []
        : [`- **${phase}**`, ...steps.map((step) => `  - ${describeStep(step)}`)];
    });
    return [heading, ...problem, '', ...lines].join('\n');
  }
}

function describeStep({ title, state, result, progress, startedAt, endedAt }: Step): string {
  const mark = { running: '…', done: '✓', failed: '✗' }[state];
  const seconds = endedAt === null ? '' : ` (${((endedAt - startedAt) / 1000).toFixed(1)} s)`;
  const what = state === 'running' && progress !== null ? describeProgress(progress) : result;
  return `${mark} ${title}${what === '' ? '' : `: ${what}`}${seconds}`;
}
