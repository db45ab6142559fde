import { replaceStrings, visitStrings } from '../values/cell.ts';
import type { Column, Relation } from './catalog.ts';
import type { Row } from './scan.ts';

type Shown = Pick<Relation, 'key' | 'columns'>;

/** Shows every string of a row's cells to `visit`. The row is as `selectCandidates` gives it. */
export function visitCells(
  { key = [], columns }: Shown,
  row: Row,
  visit: (text: string, column: Column) => void,
): void {
  for (const [at, column] of columns.entries()) {
    const cell = row[key.length + at];
    if (cell != null) visitStrings(cell, column.shape, (text) => visit(text, column));
  }
}

/** The cells of a row in which something was replaced, as they are and as they become, in the order of its columns; null for the others. */
export interface ReplacedCells {
  readonly before: readonly (string | null)[];
  readonly after: readonly (string | null)[];
}

/** Replaces the strings that `replace` has an answer for; undefined when it has none. */
export function replaceCells(
  { key = [], columns }: Shown,
  row: Row,
  replace: (text: string) => string | undefined,
): ReplacedCells | undefined {
  let before: (string | null)[] | undefined;
  let after: (string | null)[] | undefined;
  // By index: this runs for every row that is looked at, and an iterator makes an array for each column.
  for (let at = 0; at < columns.length; at += 1) {
    const cell = row[key.length + at];
    if (cell == null) continue;
    const became = replaceStrings(cell, (columns[at] as Column).shape, replace);
    if (became === undefined) continue;
    before ??= columns.map((): string | null => null);
    after ??= before.slice();
    before[at] = cell;
    after[at] = became;
  }
  return before === undefined || after === undefined ? undefined : { before, after };
}
