import type { StagedRelation } from '../journal/staged-relation.ts';
import type { StagedRow } from '../journal/staged-rows.ts';
import { replaceCells } from '../postgres/row-cells.ts';
import type { Row } from '../postgres/scan.ts';
import type { Reseal } from '../values/reseal.ts';

/** The row with its values sealed again, or undefined when it holds none. Columns are as `selectCandidates` orders them. */
export function resealRow(relation: StagedRelation, row: Row, reseal: Reseal): StagedRow | undefined {
  let sealed = 0;
  const replaced = replaceCells(relation, row, (text) => {
    const replacement = reseal(text);
    if (replacement !== undefined) sealed += 1;
    return replacement;
  });
  if (replaced === undefined) return undefined;
  const { before, after } = replaced;
  return { key: row.slice(0, relation.key.length) as string[], before, after, sealed };
}
