import type { Plan } from './plan.ts';
import type { KeyFingerprints } from './keys.ts';
import type { Rehearsed } from './rehearsal.ts';
import type { StepProgress } from './step-progress.ts';

/** The phases, in order; `rehearse` where it was asked for. `rollback` and `needs a person` come only when something fails. */
export const phases = [
  'preflight',
  'rehearse',
  'stage',
  'fence',
  'cutover',
  'start',
  'verify',
  'finish',
] as const;
export type Phase = (typeof phases)[number];

/** How a rotation ended, or that it has not. */
export type Outcome =
  | 'running'
  | 'paused'
  | 'planned'
  | 'rotated'
  | 'reencrypted'
  | 'refused'
  | 'rolled back'
  | 'reconciled'
  | 'needs a person';

/** One activity as people follow it. */
export interface Step {
  readonly phase: Phase | 'rollback';
  /** What is done, verb first: `Stop systemd unit litellm.service`. */
  readonly title: string;
  state: 'running' | 'done' | 'failed';
  /** What came of it, in a few words and counts. */
  result: string;
  /** Of a step that takes long, as it was last told: not older than a tenth of the step's time, or ten seconds. */
  progress: StepProgress | null;
  readonly startedAt: number;
  endedAt: number | null;
}

/** The answer of the `status` query. Times are milliseconds since the epoch. */
export interface RotationStatus {
  readonly rotation: string;
  readonly target: string;
  readonly phase: Phase | 'rollback' | 'needs a person' | 'done';
  readonly outcome: Outcome;
  readonly steps: readonly Step[];
  readonly startedAt: number;
  readonly endedAt: number | null;
  /** Milliseconds in which the proxy did not serve; null until it serves again. */
  readonly outageMs: number | null;
  /** Why it rolled back, or waits for a person. */
  readonly problem: string | null;
}

/** What a finished rotation returns: the auditor's summary. */
export interface RotationResult {
  readonly outcome: 'rotated' | 'planned';
  readonly rotation: string;
  readonly target: string;
  readonly summary: string;
  readonly requestedBy: string | null;
  readonly reason: string | null;
  readonly fingerprints: { readonly previous: KeyFingerprints; readonly current: KeyFingerprints } | null;
  readonly reencrypted: {
    readonly values: number;
    readonly rows: number;
    readonly lateValues: number;
  } | null;
  readonly tokenRow: 'none' | 'plain' | 'sha256';
  readonly outageMs: number | null;
  /** The parts of the outage, by which the next plan estimates; null when it was not one uninterrupted outage. */
  readonly outageParts: { readonly restartMs: number; readonly swapMs: number } | null;
  /** What the rehearsal on a clone measured; null when there was none. */
  readonly rehearsal: Rehearsed | null;
  readonly planDigest: string;
  /** Only of a dry run: a finished rotation's plan is in the journal and in the `plan` query. */
  readonly plan: Plan | null;
  readonly steps: readonly { readonly title: string; readonly result: string; readonly seconds: number }[];
}
