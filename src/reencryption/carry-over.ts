import type pg from 'pg';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { ReportProgress } from '../rotation/fence.ts';
import { quote } from './catalog.ts';
import { pairStrings } from './cell.ts';
import { journalSchema } from './journal.ts';
import type { FenceToken } from './lease.ts';
import type { Reseal } from './reseal.ts';
import { resealRow } from './reseal-row.ts';
import { pages, selectCandidates, type Row } from './scan.ts';
import type { StagedRelation } from './staged-relation.ts';
import { writeStagedRows, type StagedRow } from './staged-rows.ts';

/**
 * Which way the values go. A staged row says what its cells are on either side, so forth and back are the same work:
 * first rows that changed since get a staged row that is true again, then every cell that is on `source` is set to
 * `target`, byte for byte.
 */
export interface Direction {
  readonly source: 'before' | 'after';
  readonly target: 'before' | 'after';
  /** Seals a value with the target's key, unless it is under it. */
  readonly reseal: Reseal;
  /** Rows that no transaction from here on has written need no look; null: look at all. */
  readonly horizon: (relation: StagedRelation) => string | null;
  /** Rows that this transaction wrote need no look either: the swap's own, on the way back. */
  readonly except: string | null;
}

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
  for (const relation of relations) {
    const refreshed = changed.has(relation)
      ? await refreshChanged(client, fence, relation, direction)
      : { rows: 0, resealed: 0, touched: [] };
    if (relation.rows + refreshed.rows === 0) continue;
    const touched = [...new Set([...relation.touched, ...refreshed.touched])].sort((a, b) => a - b);
    const moved = await moveRelation(client, { ...relation, touched }, direction);
    carried = {
      rows: carried.rows + moved.rows,
      values: carried.values + moved.values,
      resealed: carried.resealed + refreshed.resealed,
    };
    progress({ done: carried.values, total: Math.max(total, carried.values), note: relation.name });
  }
  await client.query(`update ${journalSchema}.staged_relation set done = true where id = any ($1::int[])`, [
    relations.map(({ id }) => id),
  ]);
  return carried;
}

/** In one round trip: the relations in which any row has changed. A look at each row's header, not at its cells. */
async function changedRelations(
  client: pg.ClientBase,
  relations: readonly StagedRelation[],
  direction: Direction,
): Promise<ReadonlySet<StagedRelation>> {
  if (relations.length === 0) return new Set();
  const looks = relations.map(
    (relation, at) =>
      `select ${at} as at where exists (select 1 from ${relation.from} as a where ${isChanged(relation, direction)})`,
  );
  const { rows } = await client.query<{ at: number }>(looks.join(' union all '));
  return new Set(rows.map(({ at }) => relations[at] as StagedRelation));
}

function isChanged(relation: StagedRelation, { horizon, except }: Direction): string {
  const since = horizon(relation);
  const young = since === null ? 'true' : `age(a.xmin) <= age('${since}'::xid)`;
  return except === null ? young : `${young} and a.xmin <> '${except}'::xid`;
}

/** Gives each changed row, whose cells are not what was staged, a staged row that is true again. */
async function refreshChanged(
  client: pg.ClientBase,
  fence: FenceToken,
  relation: StagedRelation,
  direction: Direction,
): Promise<{ rows: number; resealed: number; touched: readonly number[] }> {
  const touched = new Set<number>();
  let rows = 0;
  let resealed = 0;
  for await (const page of pages(client, selectChanged(relation, direction))) {
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
      for (const { at } of relation.columns) if (refreshed.before[at - 1] !== null) touched.add(at);
    }
    if (batch.length === 0) continue;
    await writeStagedRows(client, fence, relation, batch, { overwrite: true });
    rows += batch.length;
  }
  return { rows, resealed, touched: [...touched] };
}

function selectChanged(relation: StagedRelation, direction: Direction): string {
  const { source, target } = direction;
  const candidates = selectCandidates(relation, relation.columns, isChanged(relation, direction));
  const key = relation.key.map((_, at) => `r.k${at + 1}`).join(', ');
  const staged = relation.columns.flatMap(({ at }) => [`s.${source}[${at}]`, `s.${target}[${at}]`]);
  const differs = relation.columns.map(
    ({ at }, index) => `r.c${index + 1} is distinct from s.${source}[${at}]`,
  );
  return `select r.*, ${staged.join(', ')} from (${candidates}) as r
    left join ${journalSchema}.staged as s on s.relation_id = ${relation.id} and s.key = array[${key}]
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

/** Sets each staged row that is on `source` to `target`, and proves that all of them are on it. */
async function moveRelation(
  client: pg.ClientBase,
  relation: StagedRelation,
  direction: Direction,
): Promise<{ rows: number; values: number }> {
  const sql = moveStatements(relation, direction);
  const answers: unknown = await client.query(`${sql.move}; ${sql.count}`);
  const [moving, counting] = answers as [pg.QueryResult, pg.QueryResult<CountRow>];
  const counted = readCounts(counting);
  const complete = moving.rowCount === counted.rows;
  // Where nothing can interfere, a row that was updated is what the update says; reading all of them again takes as long.
  if (complete && !relation.interferes) return counted;
  if (!complete) {
    const lost = Number((await client.query(sql.countUnexplained)).rows[0].rows);
    if (lost > 0) throw unexplained(relation.name, lost);
    await client.query(sql.forgetGone);
  }
  const { entries, ...verified } = readCounts(await client.query<CountRow>(sql.verify));
  if (verified.rows !== entries) throw unexplained(relation.name, entries - verified.rows);
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
): Record<'move' | 'count' | 'countUnexplained' | 'forgetGone' | 'verify', string> {
  const { source, target } = direction;
  const staged = `${journalSchema}.staged`;
  const columns = relation.columns.filter(({ at }) => relation.touched.includes(at));
  const sameRow = relation.key
    .map(({ name, type }, at) => `a.${quote(name)} = s.key[${at + 1}]::${type}`)
    .join(' and ');
  const isOn = (side: string): string =>
    columns
      .map(({ name, at }) => `(s.${side}[${at}] is null or a.${quote(name)}::text = s.${side}[${at}])`)
      .join(' and ') || 'true';
  const set = columns
    .map(
      ({ name, type, at }) =>
        `${quote(name)} = case when s.${target}[${at}] is null then a.${quote(name)} else s.${target}[${at}]::${type} end`,
    )
    .join(', ');
  const ofRelation = `s.relation_id = ${relation.id}`;
  // A row that no transaction has written since it was read is the row that was read: its cells need not become text again.
  const asRead = `(not (${isChanged(relation, direction)}) or ${isOn(source)})`;
  return {
    move: `update ${relation.from} as a set ${set} from ${staged} as s where ${ofRelation} and ${sameRow} and ${asRead}`,
    count: counting(`from ${staged} as s where ${ofRelation}`),
    countUnexplained: `select count(*) as rows from ${staged} as s join ${relation.from} as a on ${sameRow}
      where ${ofRelation} and not (${isOn(target)}) and not (${isChanged(relation, direction)})`,
    // The row is gone, or holds nothing of the source's any more: the journal must not bring it back.
    forgetGone: `delete from ${staged} as s where ${ofRelation}
      and not exists (select 1 from ${relation.from} as a where ${sameRow} and ${isOn(target)})`,
    verify: counting(
      `from ${staged} as s join ${relation.from} as a on ${sameRow} where ${ofRelation} and ${isOn(target)}`,
    ),
  };

  /** Counts, and notes the counts with the relation. */
  function counting(found: string): string {
    return `with found as (
        select count(*) as rows, coalesce(sum(s.sealed), 0) as values ${found}
      ), kept as (
        update ${journalSchema}.staged_relation set rows = found.rows, sealed = found.values from found where id = ${relation.id}
      )
      select found.rows, found.values, (select count(*) from ${staged} as s where ${ofRelation}) as entries from found`;
  }
}

function unexplained(table: string, rows: number): RotationError {
  return new RotationError(
    failureTypes.countMismatch,
    `${rows} rows of ${table} did not become what was staged for them, though nobody has changed them since; expected 0; nothing was changed; look for triggers or rules on the table that alter an update`,
    { facts: { table, rows } },
  );
}
