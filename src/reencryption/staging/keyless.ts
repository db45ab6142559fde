import type pg from 'pg';
import { keylessTables } from '../journal/staged-relation.ts';
import type { Relation } from '../postgres/catalog.ts';
import { replaceCells } from '../postgres/row-cells.ts';
import { pages, selectCandidates } from '../postgres/scan.ts';
import type { Reseal } from '../values/reseal.ts';

/** A row without a key cannot be found again, so it cannot be carried over. */
export async function refuseKeyless(
  client: pg.ClientBase,
  keyless: readonly Relation[],
  reseal: Reseal,
  prologue = (): string => '',
): Promise<void> {
  const holding: string[] = [];
  for (const relation of keyless) {
    for await (const page of pages(client, relation, selectCandidates(relation, relation.columns), {
      prologue: prologue(),
    })) {
      if (!page.some((row) => replaceCells(relation, row, reseal) !== undefined)) continue;
      holding.push(relation.name);
      break;
    }
  }
  if (holding.length > 0) throw keylessTables(holding);
}
