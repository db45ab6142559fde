import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What can happen at a point. */
export const faults = {
  kill: 'SIGKILL of the worker, which is restarted at once',
  postgres: 'Postgres stopped like in a crash, and restarted',
  temporal: 'SIGKILL of the Temporal server, and a restart',
  fail: 'the activity fails for good',
  'zombie beside': 'the worker is frozen; it wakes when its successor begins the same activity',
  'zombie late': 'the worker is frozen; it wakes when its successor has gone on to the next activity',
  cancel: 'the workflow is cancelled',
  terminate: 'the workflow is terminated, and what it leaves is reconciled',
  second: 'another rotation of the same target is started, under another workflow id',
} as const;
export type Fault = keyof typeof faults;

/**
 * One fault at one point. A point is named by the activity, which of its executions, and the moment in it:
 * `verifyDatabase#2:start`, `swapValues#1:sql:7`, `undo restoreSecrets#1:file:3`, `swapValues#1:sql:9:answered` (the
 * statement has been carried out, its answer not been read), `startService#1:end` (before its result is reported).
 */
export interface Injection {
  readonly point: string;
  readonly fault: Fault;
}

/** A line of the record that every worker of a run keeps. */
export interface Passed {
  readonly point: string;
  readonly pid: number;
  readonly attempt: number;
}

/** The files by which a worker and the controller talk; all in the directory of the run. */
export const files = {
  /** The injections, in their order. */
  plan: 'injections.json',
  /** Every point that was passed. */
  record: 'points.log',
  /** The worker has come to the point of injection `n`, and waits or is gone. */
  fired: (n: number) => `fired-${n}`,
  /** The controller has done its part. */
  done: (n: number) => `done-${n}`,
} as const;

/** The variable that names the directory of the run; without it nothing is injected. */
export const directoryVariable = 'DRILL_DIRECTORY';

/** The points that a run has passed so far. */
export async function readPoints(directory: string): Promise<Passed[]> {
  const text = await readFile(join(directory, files.record), 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Passed);
}
