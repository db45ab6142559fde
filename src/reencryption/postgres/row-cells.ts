import { visitStrings } from '../values/cell.ts';
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
