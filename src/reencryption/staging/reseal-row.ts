import type { StagedRelation } from '../journal/staged-relation.ts';
import type { StagedRow } from '../journal/staged-rows.ts';
import { replaceCells } from '../postgres/row-cells.ts';
import type { Row } from '../postgres/scan.ts';
import type { Reseal } from '../values/reseal.ts';

/** The row with its values sealed again, or undefined when it holds none. Columns are as `selectCandidates` orders them. */
export function resealRow(relation: StagedRelation, row: Row, reseal: Reseal): StagedRow | undefined {
  let sealed = 0;
  const replaced = replaceCells(relation.columns, row.slice(relation.key.length), (text) => {
    const replacement = reseal(text);
    if (replacement !== undefined) sealed += 1;
    return replacement;
  });
  if (replaced === undefined) return undefined;
  const before = Array.from<string | null>({ length: relation.width }).fill(null);
  const after = before.slice();
  for (const [index, { at }] of relation.columns.entries()) {
    before[at - 1] = replaced.before[index] ?? null;
    after[at - 1] = replaced.after[index] ?? null;
  }
  return { key: row.slice(0, relation.key.length) as string[], before, after, sealed };
}
