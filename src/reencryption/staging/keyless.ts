import type pg from 'pg';
import { keylessTables, type StagedRelation } from '../journal/staged-relation.ts';
import type { Relation } from '../postgres/catalog.ts';
import { pages, selectCandidates } from '../postgres/scan.ts';
import type { Reseal } from '../values/reseal.ts';
import { resealRow } from './reseal-row.ts';

/** A row without a key cannot be found again, so it cannot be carried over. */
export async function refuseKeyless(
  client: pg.ClientBase,
  keyless: readonly Relation[],
  reseal: Reseal,
  prologue = (): string => '',
): Promise<void> {
  const holding: string[] = [];
  for (const relation of keyless) {
    const probe: StagedRelation = {
      ...relation,
      key: [],
      columns: relation.columns.map((column, at) => ({ ...column, at: at + 1 })),
      width: relation.columns.length,
      id: 0,
      done: false,
      horizon: null,
      rows: 0,
      sealed: 0,
      touched: [],
    };
    for await (const page of pages(client, selectCandidates(relation, relation.columns), {
      prologue: prologue(),
    })) {
      if (!page.some((row) => resealRow(probe, row, reseal) !== undefined)) continue;
      holding.push(relation.name);
      break;
    }
  }
  if (holding.length > 0) throw keylessTables(holding);
}
