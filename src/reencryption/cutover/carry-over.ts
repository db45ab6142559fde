import type pg from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { ReportProgress } from '../../rotation/fence.ts';
import { journalSchema } from '../journal/journal.ts';
import type { FenceToken } from '../journal/lease.ts';
import type { StagedRelation } from '../journal/staged-relation.ts';
import { countLeft, writeStagedRows } from '../journal/staged-rows.ts';
import { quote } from '../postgres/catalog.ts';
import { changedRelations, refreshChanged } from '../staging/changed-rows.ts';
import type { Direction } from '../staging/direction.ts';
import { isChanged, isOn, isSameRow } from '../staging/row-conditions.ts';

export interface CarriedOver {
  readonly rows: number;
  readonly values: number;
  /** Values that were not staged, or had changed since. */
  readonly resealed: number;
}

/** Must run in a transaction that holds the lease, and locks on the relations that keep writers out. */
export async function carryOver(
  client: pg.ClientBase,
  fence: FenceToken,
  relations: readonly StagedRelation[],
  direction: Direction,
  progress: ReportProgress,
): Promise<CarriedOver> {
  let carried: CarriedOver = { rows: 0, values: 0, resealed: 0 };
  const total = relations.reduce((sum, { sealed }) => sum + sealed, 0);
  const changed = await changedRelations(client, relations, direction);
  // What a trigger would do only at the commit is to be seen before it.
  await client.query('set constraints all immediate');
  for (const relation of relations) {
    const refreshed = changed.has(relation)
      ? await refreshChanged(client, relation, direction, (batch) =>
          writeStagedRows(client, fence, relation, batch, { overwrite: true }),
        )
      : { rows: 0, resealed: 0, touched: relation.touched };
    if (relation.rows + refreshed.rows === 0) continue;
    const moved = await moveRelation(client, { ...relation, touched: refreshed.touched }, direction);
    carried = {
      rows: carried.rows + moved.rows,
      values: carried.values + moved.values,
      resealed: carried.resealed + refreshed.resealed,
    };
    progress({ done: carried.values, total: Math.max(total, carried.values), note: relation.name });
  }
  return carried;
}

/** Notes that every row of the relations was looked at. */
export async function markDone(client: pg.ClientBase, relations: readonly StagedRelation[]): Promise<void> {
  await client.query(`update ${journalSchema}.staged_relation set done = true where id = any ($1::int[])`, [
    relations.map(({ id }) => id),
  ]);
}

/** Sets each staged row that is on `source` to `target`, and proves that all of them are on it. */
async function moveRelation(
  client: pg.ClientBase,
  relation: StagedRelation,
  direction: Direction,
): Promise<{ rows: number; values: number }> {
  const sql = moveStatements(relation, direction);
  const meant = relation.interferes ? Number((await client.query(sql.countMeant)).rows[0].rows) : 0;
  const answers: unknown = await client.query(`${sql.move}; ${sql.count}`);
  const [moving, counting] = answers as [pg.QueryResult, pg.QueryResult<CountRow>];
  let counted = readCounts(counting);
  // Rows that were deleted since are told by their keys: to compare every cell of all others would double the time.
  if (moving.rowCount !== counted.rows) counted = readCounts(await client.query<CountRow>(sql.forgetDeleted));
  const complete = moving.rowCount === counted.rows;
  // Where nothing can interfere, a row that was updated is what the update says; reading all of them again takes as long.
  if (complete && !relation.interferes) return counted;
  if (!complete) {
    const lost = Number((await client.query(sql.countUnexplained)).rows[0].rows);
    if (lost > 0) throw unexplained(relation.name, lost);
    await client.query(sql.forgetGone);
  }
  const { entries, ...verified } = readCounts(await client.query<CountRow>(sql.verify));
  const expected = Math.max(entries, meant);
  if (verified.rows !== expected) throw unexplained(relation.name, expected - verified.rows);
  return verified;
}

type CountRow = Record<'rows' | 'values' | 'entries', string>;

/** What `count` or `verify` found. `entries` is how many rows are staged for the relation. */
function readCounts({ rows: [found] }: pg.QueryResult<CountRow>): {
  rows: number;
  values: number;
  entries: number;
} {
  return {
    rows: Number(found?.rows ?? 0),
    values: Number(found?.values ?? 0),
    entries: Number(found?.entries ?? 0),
  };
}

function moveStatements(
  relation: StagedRelation,
  direction: Direction,
): Record<
  'countMeant' | 'move' | 'count' | 'forgetDeleted' | 'countUnexplained' | 'forgetGone' | 'verify',
  string
> {
  const { source, target } = direction;
  const staged = `${journalSchema}.staged`;
  const set = relation.columns
    .filter(({ at }) => relation.touched.includes(at))
    .map(
      ({ name, type, at }) =>
        `${quote(name)} = case when s.${target}[${at}] is null then a.${quote(name)} else s.${target}[${at}]::${type} end`,
    )
    .join(', ');
  const ofRelation = `s.relation_id = ${relation.id}`;
  const sameRow = isSameRow(relation);
  const isSource = isOn(relation, source);
  const isTarget = isOn(relation, target);
  const changed = isChanged(relation, direction);
  const keepCounts = `update ${journalSchema}.staged_relation set rows = found.rows, sealed = found.values from found where id = ${relation.id}`;
  // A row that no transaction has written since it was read is the row that was read: its cells need not become text again.
  const isMeant = `${sameRow} and (not ${changed} or ${isSource})`;
  return {
    // Where a key's equality is not that of its text (`citext`), two staged rows may speak of one row.
    countMeant: `select count(distinct (a.tableoid, a.ctid)) as rows from ${staged} as s join ${relation.from} as a on ${isMeant}`,
    move: `update ${relation.from} as a set ${set} from ${staged} as s where ${isMeant}`,
    count: counting(`from ${staged} as s where ${ofRelation}`, 'found.rows'),
    forgetDeleted: `with gone as (
        delete from ${staged} as s where ${ofRelation}
          and not exists (select 1 from ${relation.from} as a where ${sameRow}) returning s.sealed
      ), ${countLeft(relation.id)}, kept as (${keepCounts})
      select found.rows, found.values, found.rows as entries from found`,
    // A cell that became null is on neither side.
    countUnexplained: `select count(*) as rows from ${staged} as s join ${relation.from} as a on ${sameRow}
      where ${isTarget} is not true and not ${changed}`,
    // The row holds nothing of the source's any more: the journal must not bring it back.
    forgetGone: `delete from ${staged} as s where ${ofRelation}
      and not exists (select 1 from ${relation.from} as a where ${sameRow} and ${isTarget})`,
    verify: counting(
      `from ${staged} as s join ${relation.from} as a on ${sameRow} where ${isTarget}`,
      `(select count(*) from ${staged} as s where ${ofRelation})`,
    ),
  };

  /** Counts, and notes the counts with the relation. */
  function counting(found: string, entries: string): string {
    return `with found as (
        select count(*) as rows, coalesce(sum(s.sealed), 0) as values ${found}
      ), kept as (${keepCounts})
      select found.rows, found.values, ${entries} as entries from found`;
  }
}

function unexplained(table: string, rows: number): RotationError {
  return new RotationError(
    failureTypes.countMismatch,
    `${rows} rows of ${table} did not become what was staged for them, though nobody has changed them since; expected 0; nothing was changed; look for triggers or rules on the table that alter an update`,
    { facts: { table, rows } },
  );
}
