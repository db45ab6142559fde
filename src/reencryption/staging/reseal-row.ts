import type { StagedRelation } from '../journal/staged-relation.ts';
import type { StagedRow } from '../journal/staged-rows.ts';
import type { Row } from '../postgres/scan.ts';
import { replaceStrings } from '../values/cell.ts';
import type { Reseal } from '../values/reseal.ts';

/** The row with its values sealed again, or undefined when it holds none. Columns are as `selectCandidates` orders them. */
export function resealRow(relation: StagedRelation, row: Row, reseal: Reseal): StagedRow | undefined {
  const keys = relation.key.length;
  const before = Array.from<string | null>({ length: relation.width }).fill(null);
  const after = before.slice();
  let sealed = 0;
  const counted: Reseal = (text) => {
    const replacement = reseal(text);
    if (replacement !== undefined) sealed += 1;
    return replacement;
  };
  for (const [index, { at, shape }] of relation.columns.entries()) {
    const cell = row[keys + index];
    if (cell == null) continue;
    const replaced = replaceStrings(cell, shape, counted);
    if (replaced === undefined) continue;
    before[at - 1] = cell;
    after[at - 1] = replaced;
  }
  return sealed === 0 ? undefined : { key: row.slice(0, keys) as string[], before, after, sealed };
}
