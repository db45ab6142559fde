import type { Plan } from './plan.ts';

/** What a rehearsal on a clone measured: the evidence that it was held, and the better estimate of the outage. */
export interface Rehearsed {
  /** How the clone was made. */
  readonly clone: 'template' | 'dump';
  /** Re-encrypted on the clone. */
  readonly values: number;
  readonly rows: number;
  readonly cloneMs: number;
  readonly stageMs: number;
  readonly swapMs: number;
  /** From the start of the spare LiteLLM to ready. */
  readonly startMs: number;
  readonly stopMs: number;
}

/** The outage that the rehearsal lets expect: stop, swap, start. In ms. */
export function rehearsedOutageMs({ stopMs, swapMs, startMs }: Rehearsed): number {
  return stopMs + swapMs + startMs;
}

/** Why the rotation must not go on after its rehearsal, or null. A limit holds for what was measured as for an estimate. */
export function judgeRehearsal(
  { target, maxOutageSeconds }: Pick<Plan, 'target' | 'maxOutageSeconds'>,
  rehearsed: Rehearsed,
): string | null {
  const outage = rehearsedOutageMs(rehearsed) / 1000;
  if (maxOutageSeconds === null || outage <= maxOutageSeconds) return null;
  const { stopMs, swapMs, startMs } = rehearsed;
  return (
    `${target}: found in the rehearsal an outage of ${outage.toFixed(1)} s (${describeOutageParts({ stopMs, swapMs, startMs })}); ` +
    `expected at most ${maxOutageSeconds} s, as maxOutage in the worker's configuration says; raise maxOutage, or find out what took so long`
  );
}

/** `stop 1.2 s, swap 0.3 s, start 11.9 s`. */
export function describeOutageParts({
  stopMs,
  swapMs,
  startMs,
}: Pick<Rehearsed, 'stopMs' | 'swapMs' | 'startMs'>): string {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  return `stop ${seconds(stopMs)}, swap ${seconds(swapMs)}, start ${seconds(startMs)}`;
}
