import { replaceStrings, visitStrings } from '../values/cell.ts';
import type { Column } from './catalog.ts';
import type { Row } from './scan.ts';

/** Shows every string of a row's cells, which are those of `columns` in their order, to `visit`. */
export function visitCells(
  columns: readonly Column[],
  cells: Row,
  visit: (text: string, column: Column) => void,
): void {
  for (const [at, column] of columns.entries()) {
    const cell = cells[at];
    if (cell != null) visitStrings(cell, column.shape, (text) => visit(text, column));
  }
}

/**
 * The cells in which `replace` has an answer for a string, as they are and as they become, in the order of `columns`; null
 * for the others. Undefined when there is none.
 */
export function replaceCells(
  columns: readonly Column[],
  cells: Row,
  replace: (text: string) => string | undefined,
): { readonly before: (string | null)[]; readonly after: (string | null)[] } | undefined {
  const before = columns.map((): string | null => null);
  const after = before.slice();
  let replaced = false;
  for (const [at, { shape }] of columns.entries()) {
    const cell = cells[at];
    if (cell == null) continue;
    const became = replaceStrings(cell, shape, replace);
    if (became === undefined) continue;
    before[at] = cell;
    after[at] = became;
    replaced = true;
  }
  return replaced ? { before, after } : undefined;
}
