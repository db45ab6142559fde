import type { Fence, ReportProgress } from '../rotation/fence.ts';
import type { Finding } from '../rotation/finding.ts';
import type { NamedKey } from '../rotation/keys.ts';
import type { MeasuredOutage } from '../rotation/measured-outage.ts';
import type { ReencryptedValues, ReencryptionCounts } from '../rotation/reencryption.ts';
import type { Secret } from '../rotation/secret.ts';

/** Who holds the lease of a database. */
export interface LeaseHolder {
  readonly rotation: string;
  readonly target: string;
  readonly workflowId: string;
  readonly runId: string;
  /** ISO 8601, UTC. */
  readonly since: string;
}

/** How values are carried over: opened with any known key, sealed again with `to`. */
export interface Transition {
  /** Every key that may have sealed a value, the most likely first; does not contain `to`. */
  readonly known: readonly NamedKey[];
  readonly to: NamedKey;
  /**
   * The signing key of the previous generation: what `restore` seals values with that were written since the swap. The
   * same key as `to` where only the master key is rotated and a salt key seals. @default the first of `known`
   */
  readonly from?: NamedKey;
}

/** Sealed values of one column, one key and one format. */
export interface InventoryLine {
  readonly table: string;
  readonly column: string;
  /** The label of the key that opens them, or null when none does. */
  readonly key: string | null;
  readonly format: 'legacy' | 'v2' | 'v3';
  readonly marker: '' | 'litellm_enc::' | 'resp_';
  /** `sealed twice`: the plaintext is itself a sealed value. `not carried over`: ids that clients hold, and what names rows. */
  readonly remark: '' | 'sealed twice' | 'not carried over' | 'unreadable';
  readonly values: number;
}

/** Told of a sealed value: what its line would be, and the primary key of its row, empty where there is none. */
export type VisitValue = (
  line: InventoryLine,
  key: readonly { readonly name: string; readonly value: string }[],
) => void;

export interface Inventory {
  readonly lines: readonly InventoryLine[];
  /** Values that a rotation re-encrypts. */
  readonly values: number;
  readonly rows: number;
  readonly columns: number;
  /** How long finding them took. */
  readonly seconds: number;
  /** Tables passed over because of their role (request logs), with their estimated rows. */
  readonly skipped: readonly { readonly table: string; readonly why: string; readonly rows: number }[];
  /** How the master key stands in LiteLLM_VerificationToken. */
  readonly tokenRow: 'none' | 'plain' | 'sha256';
  readonly findings: readonly Finding[];
}

/** Which key the database is under, as the journal's marker says; the marker moves in the same transaction as the values. */
export interface DatabaseObservation {
  readonly side: 'previous' | 'pending';
  /** Rows staged for the rotation. */
  readonly staged: number;
}

export interface SwapReport {
  readonly values: number;
  readonly rows: number;
  /** Values that had been written since stage and were sealed again inside the transaction. */
  readonly lateValues: number;
  readonly tokenRow: 'none' | 'plain' | 'sha256';
}

export interface RestoreReport {
  readonly rows: number;
  /** Values written since the cutover, sealed again with the previous key instead of being overwritten. */
  readonly resealedValues: number;
}

/** What the scan found: the proof that a side is whole. */
export interface SealCount {
  /** Values that open with the key asked for. */
  readonly underExpected: number;
  /** Values that open with any of the other keys given. */
  readonly underOthers: number;
  /** Where those are: `table.column`. */
  readonly othersIn: readonly string[];
  /** Values that look sealed and open with none. */
  readonly unreadable: number;
}

/** What is asked of a re-encryption in place: the same key, and better values. */
export interface Improvement {
  /** The signing key in force: what values are under, and are sealed with again. */
  readonly sealing: NamedKey;
  /** Every key that may have sealed a value; contains `sealing`. */
  readonly known: readonly NamedKey[];
  /** Values in a lower format are sealed in this one; null: each keeps its own. */
  readonly upgradeTo: 'v2' | 'v3' | null;
  /** Whether values that are sealed more than once are sealed once. */
  readonly repairSealedTwice: boolean;
}

export interface ImprovementSurvey extends ReencryptionCounts {
  /** SHA-256 (hex) of the values that would be repaired, with their places; the same in whatever order they are read. */
  readonly repairs: string;
}

export interface ImprovementReport {
  readonly upgraded: number;
  readonly repaired: number;
  /** Rows that were written. */
  readonly rows: number;
  /** How often the tables were gone through. */
  readonly passes: number;
  /** Rows of the last pass that somebody held or had changed meanwhile. */
  readonly missed: number;
}

/**
 * The Postgres side of a rotation: LiteLLM's tables, and our journal in a schema of its own. Statements are bounded by
 * lock and statement timeouts. Errors are `RotationError`s of type `DatabaseFailed`, `DatabaseMisconfigured`, `LeaseHeld`, `FencedOut`,
 * `CountMismatch`; they name SQLSTATEs, tables and columns, and never a value or Postgres' DETAIL.
 */
export interface RotationDatabase {
  readonly description: string;
  /** Creates or upgrades the journal schema: the only thing that preflight writes besides the lease. */
  prepareJournal(): Promise<void>;
  /** Random bytes made once a database, that key the fingerprints. */
  fingerprintKey(): Promise<Uint8Array>;
  /** Takes the lease, or returns who holds it. The holder's own rotation gets it again. */
  acquireLease(
    holder: Omit<LeaseHolder, 'since'>,
  ): Promise<{ readonly acquired: boolean; readonly holder: LeaseHolder }>;
  /** The lease as it stands. */
  lease(): Promise<LeaseHolder | undefined>;
  /**
   * A new, larger token for this attempt; `FencedOut` when the lease is not the rotation's, `Overtaken` when an attempt that was
   * scheduled later has one. `attemptAt`: when this one was scheduled, in ms since 1970. @default now
   */
  fence(rotation: string, attemptAt?: number): Promise<Fence>;
  releaseLease(fence: Fence): Promise<void>;
  /** Privileges, triggers, connection limits. Reads only. This and the surveys below end at once when `signal` aborts. */
  inspect(signal?: AbortSignal): Promise<readonly Finding[]>;
  /** Classifies every sealed value. Reads only, in one snapshot. `visit` is told of each, with its row's key. */
  inventory(
    known: readonly NamedKey[],
    masterKey: Secret,
    progress: ReportProgress,
    signal: AbortSignal,
    visit?: VisitValue,
  ): Promise<Inventory>;
  /** Counts what `improve` would rewrite. Reads only, in one snapshot. `visit` is told of each value, with its row's key. */
  surveyImprovement(
    asked: Improvement,
    progress: ReportProgress,
    signal: AbortSignal,
    visit?: (
      line: ReencryptedValues,
      key: readonly { readonly name: string; readonly value: string }[],
    ) => void,
  ): Promise<ImprovementSurvey>;
  /**
   * Seals values again where they stand, while LiteLLM serves: small transactions, each cell on the condition that it is
   * still what was read. Rows that others hold or change are passed over and tried again, a few times; none is waited for.
   */
  improve(
    asked: Improvement,
    fence: Fence,
    progress: ReportProgress,
    signal: AbortSignal,
  ): Promise<ImprovementReport>;
  /**
   * Computes every new ciphertext beside the old one, and catches up with what was written meanwhile. Resumes where an
   * earlier attempt stopped; `signal` aborts between batches.
   */
  stage(
    transition: Transition,
    fence: Fence,
    progress: ReportProgress,
    signal: AbortSignal,
  ): Promise<{ readonly values: number; readonly rows: number }>;
  /** One transaction: lock, late values, compare-and-set swap, token row, marker, final scan. Done already: reports so. */
  swap(
    transition: Transition,
    masterKey: { readonly from: Secret; readonly to: Secret },
    fence: Fence,
    progress: ReportProgress,
  ): Promise<SwapReport>;
  /**
   * One transaction back to the previous key; each row untouched since the swap byte for byte. `search`: also where the
   * marker says that nothing was swapped, every value under the pending key is looked for and sealed with the previous one.
   */
  restore(
    transition: Transition,
    masterKey: { readonly from: Secret; readonly to: Secret },
    fence: Fence,
    progress: ReportProgress,
    search?: boolean,
  ): Promise<RestoreReport>;
  observe(rotation: string): Promise<DatabaseObservation>;
  /** Whether the key is the one that seals the stored values since the last swap or restore; undefined before the first one. */
  isUnder(key: Secret): Promise<boolean | undefined>;
  /** The parts of the last outage, from the evidence; null where there is none. */
  lastOutage(): Promise<MeasuredOutage | null>;
  /** Counts the values under `expected` and under `others`. Reads only. */
  count(
    expected: NamedKey,
    others: readonly NamedKey[],
    progress: ReportProgress,
    signal: AbortSignal,
  ): Promise<SealCount>;
  /** Drops the staged values and before-images of the rotation. `side` guards against dropping what is still needed. */
  dropStaged(fence: Fence, side: 'previous' | 'pending'): Promise<void>;
  /** Sessions of LiteLLM's own database role that are not ours: proof that nothing can write with the previous key. */
  proxySessions(): Promise<
    readonly {
      readonly pid: number;
      readonly role: string;
      readonly application: string;
      readonly client: string;
    }[]
  >;
  /** Keeps plan or evidence (no key material) with the rotation; overwrites. */
  record(fence: Fence, what: 'plan' | 'evidence', document: unknown): Promise<void>;
  close(): Promise<void>;
}
