import type { RotationCase } from './case.ts';
import type { Finding } from './finding.ts';
import type { KeyFingerprints } from './keys.ts';
import type { MeasuredOutage } from './measured-outage.ts';

/** Sealed values of one column under one key, as the plan shows them. */
export interface PlannedValues {
  readonly table: string;
  readonly column: string;
  /** The label of the key that opens them; null when none does. */
  readonly key: string | null;
  readonly format: string;
  readonly marker: string;
  readonly remark: '' | 'sealed twice' | 'not carried over' | 'unreadable';
  readonly values: number;
}

/** What preflight saw, part by part. */
export interface PlanParts {
  readonly target: string;
  readonly rotation: string;
  readonly rotationCase: RotationCase;
  /** The longest outage that the configuration allows; null: any. */
  readonly maxOutageSeconds: number | null;
  readonly secrets: {
    readonly description: string;
    readonly current: KeyFingerprints;
    readonly places: readonly { readonly where: string; readonly name: string; readonly action: string }[];
    readonly findings: readonly Finding[];
  };
  readonly service: {
    readonly description: string;
    readonly detail: string;
    /** Values that LiteLLM could not decrypt before the rotation, as its log has it. */
    readonly decryptionErrors: number;
    readonly findings: readonly Finding[];
  };
  readonly proxy: {
    readonly urls: readonly string[];
    readonly models: number;
    readonly modelsDigest: string;
    readonly findings: readonly Finding[];
  };
  /** Where it is rehearsed before LiteLLM is stopped; null when it is not. */
  readonly rehearsal: { readonly description: string; readonly findings: readonly Finding[] } | null;
  readonly database: {
    readonly description: string;
    readonly lines: readonly PlannedValues[];
    readonly values: number;
    readonly rows: number;
    readonly columns: number;
    /** How long finding them took. */
    readonly seconds: number;
    /** Of the last rotation that was not interrupted; null where there is none. */
    readonly lastOutage: MeasuredOutage | null;
    readonly skipped: readonly { readonly table: string; readonly why: string; readonly rows: number }[];
    readonly tokenRow: 'none' | 'plain' | 'sha256';
    readonly findings: readonly Finding[];
  };
}
