import { createHmac } from 'node:crypto';
import type pg from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { Transition } from '../port.ts';
import type { Column, KeyColumn, Relation } from '../postgres/catalog.ts';
import { journalSchema } from './journal.ts';

/** A column of a staged relation, with its place in the arrays of staged rows. */
export interface StagedColumn extends Column {
  /** 1-based. Fixed for the rotation, whatever columns come and go. */
  readonly at: number;
}

/** A relation with its key, and how far the rotation is with it. */
export interface StagedRelation extends Omit<Relation, 'key' | 'columns'> {
  readonly id: number;
  readonly key: readonly KeyColumn[];
  readonly columns: readonly StagedColumn[];
  /** Length of the arrays of staged rows. */
  readonly width: number;
  /** Every row was looked at with these keys and columns by a stage that finished with it. */
  readonly done: boolean;
  /** Rows that no transaction from here on (a 32-bit transaction id) has written are as they were looked at; null: look at all. */
  readonly horizon: string | null;
  /** The same of the look that is under way. */
  readonly pendingHorizon: string | null;
  readonly rows: number;
  readonly sealed: number;
  /** Places of the columns in which anything is carried over. */
  readonly touched: readonly number[];
}

interface StagedRelationRow {
  id: number;
  relation: string;
  relation_oids: string[];
  columns: string[];
  horizon: string;
  usable: boolean;
  done: boolean;
  rows: string;
  sealed: string;
  touched: number[];
}

const found = `json_to_recordset($2::json) as f (name text, oids oid[], columns text[], key text[])`;
// The horizon is taken before any row is read: rows written since count as changed, even those that were then seen.
const register = `
  insert into ${journalSchema}.staged_relation (rotation, relation, relation_oids, columns, key, keys, horizon)
  select $1, f.name, f.oids, f.columns, f.key, $3, pg_snapshot_xmin(pg_current_snapshot())::text::bigint
  from ${found}
  on conflict (rotation, relation) do nothing`;
// Another table of that name, another partition, a column more, or other known keys: what was staged is not all
// that it holds, and may not be its own. So it is staged anew. After the swap what was staged is the way back, and stays;
// but by another key no row is found again.
const forgetOthers = `
  with begun as (
    update ${journalSchema}.staged_relation as r
    set relation_oids = f.oids, columns = f.columns, key = f.key, keys = $3,
      horizon = pg_snapshot_xmin(pg_current_snapshot())::text::bigint, done = false,
      rows = 0, sealed = 0, touched = '{}'
    from ${found}, ${journalSchema}.rotation as o
    where r.rotation = $1 and r.relation = f.name and o.rotation = r.rotation and (r.key <> f.key or o.side = 'previous'
      and (r.relation_oids <> f.oids or not f.columns <@ r.columns or r.keys <> $3))
    returning r.id
  )
  delete from ${journalSchema}.staged using begun where relation_id = begun.id`;
// Beyond 2^31 transactions, or in a restored copy with younger ones, ages say nothing.
const read = `
  select id, relation, relation_oids::text[], columns, (horizon % 4294967296)::text as horizon,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint - horizon between 0 and 2000000000 as usable,
    done, rows, sealed, touched
  from ${journalSchema}.staged_relation where rotation = $1`;
// Only after the swap: what was staged keeps its places.
const lookAgain = `
  update ${journalSchema}.staged_relation
  set columns = $2, relation_oids = $3, done = false
  where id = $1`;
const totals = `
  select coalesce(sum(rows), 0) as rows, coalesce(sum(sealed), 0) as values
  from ${journalSchema}.staged_relation where id = any ($1::int[])`;

/**
 * Notes the relations with the rotation, and returns them with their progress. A relation without a usable key is
 * passed to `keyless` instead.
 */
export async function registerRelations(
  client: pg.ClientBase,
  rotation: string,
  transition: Transition,
  relations: readonly Relation[],
): Promise<readonly StagedRelation[]> {
  const keyed = relations.filter((relation) => relation.key !== undefined);
  const described = keyed.map(({ name, oids, columns, key }) => ({
    name,
    oids,
    columns: columns.map(describeColumn),
    key: key?.map(describeColumn),
  }));
  const parameters = [rotation, JSON.stringify(described), identifyKeys(transition)];
  await client.query(register, parameters);
  await client.query(forgetOthers, parameters);
  const { rows } = await client.query<StagedRelationRow>(read, [rotation]);
  const byName = new Map(rows.map((row) => [row.relation, row]));
  const staged: StagedRelation[] = [];
  for (const relation of keyed) {
    const row = byName.get(relation.name);
    if (row === undefined) throw new Error('a relation was not registered');
    staged.push(await align(client, relation, row));
  }
  return staged;
}

/** How much is staged for the relations. */
export async function readTotals(
  client: pg.ClientBase,
  relations: readonly StagedRelation[],
): Promise<{ readonly rows: number; readonly values: number }> {
  const { rows } = await client.query<{ rows: string; values: string }>(totals, [
    relations.map(({ id }) => id),
  ]);
  return { rows: Number(rows[0]?.rows), values: Number(rows[0]?.values) };
}

/** Columns keep their places, and new ones are appended. A relation that is not what it was has to be looked at again. */
async function align(
  client: pg.ClientBase,
  relation: Relation,
  row: StagedRelationRow,
): Promise<StagedRelation> {
  const described = relation.columns.map(describeColumn);
  const places = [...row.columns, ...described.filter((column) => !row.columns.includes(column))];
  const same = places.length === row.columns.length && row.relation_oids.join() === relation.oids.join();
  if (!same) await client.query(lookAgain, [row.id, places, relation.oids]);
  const horizon = row.usable ? row.horizon : null;
  const done = row.done && same;
  return {
    ...relation,
    key: relation.key as readonly KeyColumn[],
    id: row.id,
    columns: relation.columns.map((column, at) => ({
      ...column,
      at: places.indexOf(described[at] as string) + 1,
    })),
    width: places.length,
    done,
    horizon: done ? horizon : null,
    pendingHorizon: done ? null : horizon,
    rows: Number(row.rows),
    sealed: Number(row.sealed),
    touched: row.touched,
  };
}

const describeColumn = ({ num, type }: KeyColumn): string => `${num} ${type}`;

/**
 * The known keys with their labels, in their order, as a digest that only who holds the pending key can compare with a
 * guess: a key that somebody has thought up is not to be found by it.
 */
function identifyKeys({ known, to }: Transition): string {
  const keys = known.map(({ label, key }) => [label, key.reveal()]);
  return createHmac('sha256', to.key.reveal()).update(JSON.stringify(keys)).digest('hex');
}

/** `Refused`, naming the tables in which a row could not be found again. */
export function keylessTables(tables: readonly string[]): RotationError {
  return new RotationError(
    failureTypes.refused,
    `sealed values were found in ${tables.join(', ')}, which has neither a primary key nor a unique index without nulls, so that a row could not be found again; add a primary key, or name the table among the skipped ones if its values may be lost`,
    { facts: { tables } },
  );
}
