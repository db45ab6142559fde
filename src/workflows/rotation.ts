import type { Job } from '../activities/ports.ts';
import type { KeyFingerprints } from '../rotation/keys.ts';
import type { Rehearsed } from '../rotation/rehearsal.ts';
import type { createCompensations } from './compensations.ts';
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
}

/** What stage leaves for the phases after it. */
export interface Staged {
  readonly fingerprints: { readonly previous: KeyFingerprints; readonly pending: KeyFingerprints };
  /** What the rehearsal measured; null when there was none. */
  readonly rehearsed: Rehearsed | null;
  /** Where the canary's provider must listen when it is called again. */
  readonly canaryPort: number;
}
