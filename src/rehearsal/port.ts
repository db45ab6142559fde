import type { Proxy } from '../litellm/proxy-port.ts';
import type { RotationDatabase } from '../reencryption/port.ts';
import type { Fence } from '../rotation/fence.ts';
import type { Finding } from '../rotation/finding.ts';
import type { KeyPair } from '../rotation/keys.ts';

/** How a clone is made: by Postgres from its files, or by pg_dump and pg_restore. */
export type CloneMethod = 'template' | 'dump';

/** A LiteLLM that runs on the clone, for nobody but us. */
export interface SpareLiteLLM {
  readonly proxy: Proxy;
  /** How its process ended, such as `exited with 1`; undefined while it runs. */
  ended(): string | undefined;
  /** Values that did not decrypt, as its output so far has it. */
  decryptionErrors(): number;
  /** The last lines of its output, oldest first; not redacted. */
  lastLines(): readonly string[];
  /** Ends it, and everything that it has started. Ended already: does nothing. */
  stop(): Promise<void>;
}

/**
 * Where a rotation is rehearsed: a clone of the target's database, and a spare LiteLLM on it. The clone holds every
 * stored value and is opened by the pending keys, so it is destroyed whatever the rehearsal came to. It is named after
 * its rotation, so that whoever leads that rotation to an end finds it.
 *
 * Errors are `RotationError`s: `Refused`, `DatabaseFailed`, `ServiceFailed`. They hold no row, no connection string and
 * nothing that a program printed.
 */
export interface Rehearsal {
  /** For people: `a clone on Postgres at 127.0.0.1:5432, LiteLLM on port 4999`. */
  readonly description: string;
  /** Whether each rotation of the target is rehearsed unless it is asked not to be. */
  readonly always: boolean;
  /** How long the spare LiteLLM may take from start to ready. */
  readonly readyTimeoutMs: number;
  /** What would keep a rehearsal from its work: a right, a program, a port. Reads only. */
  inspect(): Promise<readonly Finding[]>;
  /** Makes the clone anew, without our journal. What an earlier attempt has left is destroyed first. */
  clone(fence: Fence, signal: AbortSignal): Promise<CloneMethod>;
  /** Our view of the clone, with a journal of its own. The caller closes it. */
  open(rotation: string): RotationDatabase;
  /** What work on the clone failed with, as it is to be told: `Refused` where the disk is full. */
  judgeFailure(rotation: string, error: unknown): Promise<unknown>;
  /** Takes the stored settings from the clone by which LiteLLM would reach out: caches, key managers, callbacks, alerts, exports. */
  quieten(rotation: string): Promise<void>;
  /** Starts LiteLLM on the clone with these keys, after what an earlier attempt has left running is ended. Does not wait until it is ready. */
  boot(rotation: string, keys: KeyPair, signal: AbortSignal): Promise<SpareLiteLLM>;
  /** Sessions of LiteLLM's on the clone: the proof that it is the clone that it was started on. */
  sessions(rotation: string): Promise<number>;
  /** Whether a clone of the rotation is there. */
  exists(rotation: string): Promise<boolean>;
  /** Ends what runs on the clone, and drops it. Gone already: does nothing. */
  destroy(rotation: string): Promise<{ readonly destroyed: boolean }>;
  close(): Promise<void>;
}
