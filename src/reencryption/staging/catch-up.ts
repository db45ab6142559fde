import type pg from 'pg';
import { journalSchema } from '../journal/journal.ts';
import { fenceRow, isFenced, queryFenced } from '../journal/fenced-statement.ts';
import type { FenceToken } from '../journal/lease.ts';
import { countLeft } from '../journal/staged-rows.ts';
import type { StagedRelation } from '../journal/staged-relation.ts';
import { takeHorizon } from '../postgres/horizon.ts';
import type { RelationReader } from '../postgres/relation-reader.ts';
import type { Reseal } from '../values/reseal.ts';
import { changedRelations, refreshChanged } from './changed-rows.ts';
import type { Direction } from './direction.ts';
import { isChanged, isOn, isSameRow } from './row-conditions.ts';
import type { StagingWriter } from './staging-writer.ts';

/** So few changed rows are left to the swap: another look would cost more than they do. */
const fewRows = 100;
/** Who writes faster than this catches up is not caught up with by trying longer. */
const mostRounds = 4;

export interface CatchUp {
  readonly reader: RelationReader;
  /** A session whose statements commit by themselves. */
  readonly writer: pg.ClientBase;
  readonly staging: StagingWriter;
  readonly fence: FenceToken;
  readonly reseal: Reseal;
}

/**
 * Stages again what LiteLLM has written since it was looked at, while it serves, so that the swap finds little that has
 * changed and its locks are short. Only relations that were looked at to their end.
 */
export async function catchUp(relations: readonly StagedRelation[], to: CatchUp): Promise<void> {
  let known: readonly StagedRelation[] = relations.filter(({ done, horizon }) => done && horizon !== null);
  for (let round = 0; round < mostRounds && known.length > 0; round += 1) {
    const { found, next } = await lookAgain(known, to);
    if (found <= fewRows) return;
    known = next;
  }
}

async function lookAgain(
  relations: readonly StagedRelation[],
  { reader, writer, staging, fence, reseal }: CatchUp,
): Promise<{ found: number; next: readonly StagedRelation[] }> {
  const direction: Direction = {
    source: 'before',
    target: 'after',
    reseal,
    horizon: ({ horizon }) => horizon,
    except: () => null,
  };
  // Before anything is read: a transaction that is in progress now may write what this look does not see.
  const { full: horizon, xid } = await takeHorizon(writer);
  const changed = await changedRelations(reader.client, relations, direction);
  let found = 0;
  const next: StagedRelation[] = [];
  for (const relation of relations) {
    if (!changed.has(relation)) {
      next.push({ ...relation, horizon: xid });
      continue;
    }
    let last: Promise<void> | undefined;
    const refreshed = await refreshChanged(
      reader.client,
      relation,
      direction,
      async (batch) => {
        ({ written: last } = await staging.begin(relation, batch, { overwrite: true }));
      },
      reader.next(),
    );
    await last;
    const looked = { ...relation, touched: refreshed.touched };
    const { forgotten } = await queryFenced<{ forgotten: string }>(
      writer,
      fence,
      forgetOthers(looked, direction),
      [horizon],
    );
    found += refreshed.rows + Number(forgotten);
    next.push({ ...looked, horizon: xid });
  }
  await reader.end();
  const unchanged = relations.filter((relation) => !changed.has(relation)).map(({ id }) => id);
  await queryFenced(writer, fence, moveAll, [horizon, unchanged]);
  return { found, next };
}

const moveAll = `
  with ${fenceRow}, moved as (
    update ${journalSchema}.staged_relation set horizon = $3 from fence where id = any ($4::int[])
  )
  select ${isFenced}`;

/**
 * A changed row that is on neither side any more holds nothing, or something that was written after the look. From the
 * new horizon on its staged row would count as true, and the swap would bring back what was overwritten: so it goes, and
 * the swap looks at the row.
 */
function forgetOthers(relation: StagedRelation, direction: Direction): string {
  const staged = `${journalSchema}.staged`;
  return `
    with ${fenceRow}, gone as (
      delete from ${staged} as s using ${relation.from} as a, fence
      where ${isSameRow(relation)} and ${isChanged(relation, direction)} and ${isOn(relation, 'before')} is not true
      returning s.sealed
    ), ${countLeft(relation.id)}, moved as (
      update ${journalSchema}.staged_relation as r set horizon = $3, rows = found.rows, sealed = found.values
      from fence, found where r.id = ${relation.id}
    )
    select ${isFenced}, (select count(*) from gone) as forgotten`;
}
