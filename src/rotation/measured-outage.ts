/** How long the parts of the outage of an earlier rotation of the same database took. */
export interface MeasuredOutage {
  /** ISO 8601, UTC. */
  readonly at: string;
  /** From stop to ready, without the swap. */
  readonly restartMs: number;
  readonly swapMs: number;
  /** That it swapped. */
  readonly values: number;
}
