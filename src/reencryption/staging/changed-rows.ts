import type pg from 'pg';
import { journalSchema } from '../journal/journal.ts';
import type { StagedRelation } from '../journal/staged-relation.ts';
import type { StagedRow } from '../journal/staged-rows.ts';
import { pages, selectCandidates, withRows, type Row } from '../postgres/scan.ts';
import { pairStrings } from '../values/cell.ts';
import type { Direction } from './direction.ts';
import { resealRow } from './reseal-row.ts';
import { isChanged, isStagedFor } from './row-conditions.ts';

export interface RefreshedRows {
  readonly rows: number;
  /** Values that were not staged, or had changed since. */
  readonly resealed: number;
  /** Places of the columns in which anything is carried over, now or before. */
  readonly touched: readonly number[];
}

/** In one round trip: the relations in which any row has changed. A look at each row's header, not at its cells. */
export async function changedRelations(
  client: pg.ClientBase,
  relations: readonly StagedRelation[],
  direction: Direction,
): Promise<ReadonlySet<StagedRelation>> {
  return new Set(await withRows(client, relations, (relation) => isChanged(relation, direction)));
}

/**
 * Gives each changed row, whose cells are not what was staged, a staged row that is true again; `write` is to overwrite
 * the one that there is. Rows that hold nothing any more keep theirs.
 */
export async function refreshChanged(
  client: pg.ClientBase,
  relation: StagedRelation,
  direction: Direction,
  write: (batch: readonly StagedRow[]) => Promise<unknown>,
  prologue = '',
): Promise<RefreshedRows> {
  const touched = new Set(relation.touched);
  let rows = 0;
  let resealed = 0;
  for await (const page of pages(client, relation, selectChanged(relation, direction), { prologue })) {
    const batch: StagedRow[] = [];
    for (const row of page) {
      const known = stagedStrings(relation, row);
      const refreshed = resealRow(relation, row, (text) => {
        const staged = known.get(text);
        if (staged !== undefined) return staged;
        const sealed = direction.reseal(text);
        if (sealed !== undefined) resealed += 1;
        return sealed;
      });
      if (refreshed === undefined) continue;
      // resealRow goes from `before` to `after`.
      batch.push(
        direction.source === 'before'
          ? refreshed
          : { ...refreshed, before: refreshed.after, after: refreshed.before },
      );
      for (const [index, { at }] of relation.columns.entries())
        if (refreshed.before[index] !== null) touched.add(at);
    }
    if (batch.length === 0) continue;
    await write(batch);
    rows += batch.length;
  }
  return { rows, resealed, touched: [...touched] };
}

function selectChanged(relation: StagedRelation, direction: Direction): string {
  const { source, target } = direction;
  const candidates = selectCandidates(relation, relation.columns, isChanged(relation, direction));
  const staged = relation.columns.flatMap(({ at }) => [`s.${source}[${at}]`, `s.${target}[${at}]`]);
  const differs = relation.columns.map(
    ({ at }, index) => `r.c${index + 1} is distinct from s.${source}[${at}]`,
  );
  return `select r.*, ${staged.join(', ')} from (${candidates}) as r
    left join ${journalSchema}.staged as s on ${isStagedFor(relation)}
    where ${differs.join(' or ')}`;
}

/** What the strings that were staged for this row become: an unchanged value in a changed cell goes back byte for byte. */
function stagedStrings(relation: StagedRelation, row: Row): ReadonlyMap<string, string> {
  const first = relation.key.length + relation.columns.length;
  const pairs = new Map<string, string>();
  for (const [index, { shape }] of relation.columns.entries()) {
    const source = row[first + 2 * index];
    const target = row[first + 2 * index + 1];
    if (source == null || target == null) continue;
    for (const [text, became] of pairStrings(source, target, shape)) pairs.set(text, became);
  }
  return pairs;
}
