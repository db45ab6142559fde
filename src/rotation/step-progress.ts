/** How far a long step is: in values, as its worker counts them. */
export interface StepProgress {
  readonly done: number;
  /** Null where nobody knows how many there are. */
  readonly total: number | null;
  /** Of the last seconds; null before there is anything to tell it by. */
  readonly perSecond: number | null;
  /** How long it has waited, so far, to leave a busy database to others, in ms. */
  readonly waitedMs: number;
}

/** What a running activity tells its workflow, under this name, so that queries know it, too. */
export const progressSignalName = 'progress';
export interface ProgressReport extends StepProgress {
  /** The activity's id: a report that arrives late is of a step that has ended. */
  readonly step: string;
}

/** Anybody can send a signal, and one that the workflow cannot read would fail its task for ever. */
export function readProgressReport(report: unknown): ProgressReport | undefined {
  const { step, done, total, perSecond, waitedMs } = (report ?? {}) as Partial<
    Record<keyof ProgressReport, unknown>
  >;
  const isCount = (value: unknown): value is number => Number.isFinite(value) && (value as number) >= 0;
  if (typeof step !== 'string' || !isCount(done)) return undefined;
  return {
    step,
    done,
    total: isCount(total) ? total : null,
    perSecond: isCount(perSecond) ? perSecond : null,
    waitedMs: isCount(waitedMs) ? waitedMs : 0,
  };
}

/** `412,000 of 1,000,000 values, 38,000/s, 15 s left`. */
export function describeProgress({ done, total, perSecond, waitedMs }: StepProgress): string {
  const all = total === null ? null : Math.max(total, done);
  const rate = perSecond === null ? null : Math.round(perSecond);
  const left = all === null || rate === null || rate === 0 ? null : (all - done) / rate;
  return [
    `${count(done)}${all === null ? '' : ` of ${count(all)}`} values`,
    ...(rate === null ? [] : [`${count(rate)}/s`]),
    ...(left === null || left === 0 ? [] : [`${describeDuration(left)} left`]),
    ...(waitedMs < 1000
      ? []
      : [`waited ${describeDuration(Math.floor(waitedMs / 1000))} as Postgres is busy`]),
  ].join(', ');
}

/** `15 s`, `12 min` or `3 h 5 min`, rounded up. */
export function describeDuration(seconds: number): string {
  if (seconds <= 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function count(value: number): string {
  return `${Math.round(value)}`.replaceAll(/\B(?=(?:\d{3})+$)/g, ',');
}

const windowMs = 10_000;

/**
 * Counts per second over the last ten seconds. Told of a count and the time in ms (of any clock that only goes forward);
 * answers null until a second has passed. A count that was there from the start, from an earlier attempt, is no rate.
 */
export function createRate(): (done: number, atMs: number) => number | null {
  const seen: { readonly done: number; readonly atMs: number }[] = [];
  return (done, atMs) => {
    const last = seen.at(-1);
    // A sample every quarter of a second is enough, and keeps them few.
    if (last === undefined || (done !== last.done && atMs - last.atMs >= 250)) seen.push({ done, atMs });
    // Two are kept, however old: the rate of batches that are far apart is that between two, and falls while none comes.
    while (seen.length > 2 && atMs - (seen[1]?.atMs ?? atMs) >= windowMs) seen.shift();
    const [first] = seen;
    if (first === undefined || atMs - first.atMs < 1000) return null;
    return Math.max(0, ((done - first.done) / (atMs - first.atMs)) * 1000);
  };
}

const firstReportMs = 10_000;

/**
 * When the next report is due, in ms since the step began, after one at `elapsedMs`: ten seconds later, or a tenth of the
 * time so far. What a query tells is never older than that, and six hours are some seventy reports in the history.
 */
export function nextReportMs(elapsedMs: number): number {
  return elapsedMs + Math.max(firstReportMs, elapsedMs / 10);
}
