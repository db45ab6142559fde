import type { Job } from '../activities/ports.ts';
import type { KeyFingerprints } from '../rotation/keys.ts';
import type { Rehearsed } from '../rotation/rehearsal.ts';
import type { Before, createCompensations } from './compensations.ts';
import type { Pausing } from './pausing.ts';
import type { Progress } from './progress.ts';
import type { Compensations } from './saga.ts';

/** What every phase of one rotation works with. */
export interface Rotation {
  readonly job: Job;
  readonly progress: Progress;
  readonly pausing: Pausing;
  /** Filled before each step, emptied by a rollback. */
  readonly undo: Compensations;
  readonly back: ReturnType<typeof createCompensations>;
  /** What was served before the outage: as preflight saw it, and then as it was seen right before the stop. */
  before: Before | null;
}

/** What stage leaves for the phases after it. */
export interface Staged {
  readonly fingerprints: { readonly previous: KeyFingerprints; readonly pending: KeyFingerprints };
  /** What the rehearsal measured; null when there was none. */
  readonly rehearsed: Rehearsed | null;
  /** Where the canary's provider must listen when it is called again. */
  readonly canaryPort: number;
}
