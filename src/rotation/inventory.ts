import * as z from 'zod/mini';
import { parseInput, text } from './input.ts';
import type { PlannedValues } from './plan-parts.ts';

/** What a person asks for who wants to know what is sealed. */
export interface InventoryRequest {
  readonly target: string;
  /** Whether the primary keys of the rows are asked for, too. */
  readonly rows: boolean;
}

/** One row that holds sealed values of one column, key and format. */
export interface SealedRow extends PlannedValues {
  /** `name=value` of its primary key, as far as that may be shown. */
  readonly row: string;
}

/** Every sealed value of a database, counted; no value, and no key but by its label. */
export interface ValueInventory {
  readonly target: string;
  readonly description: string;
  readonly lines: readonly PlannedValues[];
  /** Values that a rotation re-encrypts, and the rows and columns that they stand in. */
  readonly values: number;
  readonly rows: number;
  readonly columns: number;
  readonly skipped: readonly { readonly table: string; readonly why: string; readonly rows: number }[];
  /** Null when they were not asked for. */
  readonly listed: readonly SealedRow[] | null;
  /** Rows beyond those that are listed. */
  readonly unlisted: number;
}

const shape = {
  kind: 'an inventory request',
  schema: z.strictObject({
    target: text,
    rows: z.optional(z.boolean()),
    requestedBy: z.optional(z.nullable(text)),
  }),
  example: '{"target":"prod","rows":true}',
  hints: { rows: 'true or false' },
};

/** Reads the workflow's input. Throws `BadRequest` with one sentence that names the field. */
export function parseInventoryRequest(inputs: readonly unknown[]): InventoryRequest {
  const { target, rows = false } = parseInput(inputs, shape);
  return { target, rows };
}

/** The first rows that it is told of, each once; the rest is counted, as Temporal's history must stay small. */
export function createRowList(limit = 1_000): {
  add(line: PlannedValues, key: readonly { readonly name: string; readonly value: string }[]): void;
  readonly listed: readonly SealedRow[];
  readonly unlisted: number;
} {
  const rows: SealedRow[] = [];
  // A row's values come one after the other, by column: the last few are enough to know them by.
  let current = '';
  let known = new Map<string, number>();
  let unlisted = 0;
  return {
    add(line, key) {
      const row = JSON.stringify([line.table, key]);
      if (row !== current) [current, known] = [row, new Map()];
      const kind = JSON.stringify({ ...line, values: 0 });
      const at = known.get(kind);
      if (at === undefined) {
        known.set(kind, rows.length < limit ? rows.length : -1);
        if (rows.length < limit) rows.push({ ...line, values: 1, row: key.map(showColumn).join(', ') });
        else unlisted += 1;
      } else if (at >= 0) {
        const found = rows[at] as SealedRow;
        rows[at] = { ...found, values: found.values + 1 };
      }
    },
    get listed() {
      return rows;
    },
    get unlisted() {
      return unlisted;
    },
  };
}

const secretName = /token|secret|password|api_?key|hash/i;

/**
 * A column of a primary key, as it may be shown. Of a digest in hex, by which LiteLLM knows a virtual key, the first
 * eight digits tell it from the others. Very old databases have the key itself there, so nothing else is shown of a
 * column of such a name, nor of a value that looks like a key or is longer than a UUID by much; nor of one that a terminal
 * would obey, as users of LiteLLM choose some of them.
 */
function showColumn({ name, value }: { readonly name: string; readonly value: string }): string {
  if (/^[0-9a-f]{64}$/.test(value)) return `${name}=${value.slice(0, 8)}…`;
  const hidden =
    secretName.test(name) || value.startsWith('sk-') || value.length > 40 || /\p{C}/u.test(value);
  return `${name}=${hidden ? '(not shown)' : value}`;
}
