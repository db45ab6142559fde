/**
 * A writer's proof that it is the newest attempt of the rotation that holds the lease (a fencing token). Every attempt
 * that writes takes a new, larger token; a paused older attempt that wakes up is refused by it, and so is one that
 * begins only then.
 * See Kleppmann, "How to do distributed locking" (2016), for why a lease alone does not do.
 */
export interface Fence {
  readonly rotation: string;
  readonly token: number;
  /** Rejects with `RotationError` of type `FencedOut` unless this token is still the newest. Call it right before a write. */
  assert(): Promise<void>;
}

/** Told how far a long step is; must not throw. Numbers are values (or rows), not bytes. */
export type ReportProgress = (progress: {
  readonly done: number;
  readonly total?: number;
  readonly note?: string;
  /** How long it has waited so far for a busy database, in ms. */
  readonly waitedMs?: number;
}) => void;
