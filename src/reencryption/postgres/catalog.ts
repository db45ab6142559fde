import { escapeIdentifier, escapeLiteral, type ClientBase } from 'pg';
import type { CellShape } from '../values/cell.ts';
import { skippedRole, type SkippedRole } from './table-role.ts';

/** A column that can hold strings. */
export interface Column {
  /** Stays when the column is renamed; one that is dropped and added again gets another. */
  readonly num: number;
  readonly name: string;
  /**
   * As SQL writes it, without length: `jsonb`, `text[]`, and `bpchar` for any `char(n)`, as `character` means `char(1)`. An
   * assignment checks the length, a cast would cut silently.
   */
  readonly type: string;
  readonly shape: CellShape;
  /** In a key, a unique index or a reference: its values name rows, and are never rewritten. */
  readonly fixed: boolean;
}

export interface KeyColumn {
  readonly num: number;
  readonly name: string;
  readonly type: string;
}

/** A table of LiteLLM's schema, as far as a rotation is concerned. */
export interface Relation {
  readonly name: string;
  /** Its own, and those of its partitions. */
  readonly oids: readonly number[];
  /** For a FROM clause: `only "public"."T"`; a partitioned table stands for its partitions. */
  readonly from: string;
  /** The primary key, else a unique index without nulls; undefined when there is neither. */
  readonly key: readonly KeyColumn[] | undefined;
  readonly columns: readonly Column[];
  readonly skipped: SkippedRole | undefined;
  readonly estimatedRows: number;
  /** With the large cells that Postgres keeps outside of the rows (TOAST). Of a partitioned table, those of its partitions. */
  readonly bytes: number;
  /** Of the blocks with the rows alone. */
  readonly heapBytes: number;
  /** Whether triggers or rules of somebody's may do something else than what an update says. */
  readonly interferes: boolean;
}

interface RelationRow {
  oids: number[];
  name: string;
  kind: string;
  rows: number;
  bytes: string;
  heapBytes: string;
  interferes: boolean;
  key: KeyColumn[] | null;
  columns:
    { num: number; name: string; type: string; content: string; array: boolean; fixed: boolean }[] | null;
}

// Partitions are read through their root. Generated columns, stored or virtual, follow the columns that they are made from.
// From Postgres 18 on, a column may be marked NOT NULL while it still holds nulls, by a constraint that is NOT VALID
// (its manual, ALTER TABLE and pg_constraint). Before, pg_constraint has no such constraints of tables.
// Behind its key, an index lists the columns of its INCLUDE: those name no row. A domain may be over another one.
const readRelations = `
  with recursive plain as (
    select oid, oid as base from pg_type where typtype <> 'd'
    union all select d.oid, plain.base from pg_type d join plain on plain.oid = d.typbasetype where d.typtype = 'd'
  ), fixed as (
    select indrelid as relation, unnest((indkey::int2[])[:indnkeyatts - 1]) as num from pg_index where indisunique
    union all select conrelid, unnest(conkey) from pg_constraint where contype = 'f'
    union all select confrelid, unnest(confkey) from pg_constraint where contype = 'f'
  ), unproved as (
    select conrelid as relation, unnest(conkey) as num from pg_constraint where contype = 'n' and not convalidated
  )
  select own.oids, c.relname as name, c.relkind as kind, c.reltuples as rows,
    coalesce(own.bytes, 0) as bytes, coalesce(own."heapBytes", 0) as "heapBytes",
    c.relkind <> 'r' or c.relhasrules
      or exists (select 1 from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal) as interferes,
    (select json_agg(json_build_object('num', a.attnum, 'name', a.attname, 'type', format_type(a.atttypid, -1)) order by k.n)
     from (select (indkey::int2[])[:indnkeyatts - 1] as cols from pg_index
           where indrelid = c.oid and indisunique and indisvalid and indimmediate and indpred is null and indexprs is null
             and not exists (select 1 from unnest((indkey::int2[])[:indnkeyatts - 1]) as i (num)
                             join pg_attribute n on n.attrelid = c.oid and n.attnum = i.num
                             where not n.attnotnull or (c.oid, n.attnum) in (select relation, num from unproved))
           order by indisprimary desc, indnkeyatts, indexrelid limit 1) as best,
       unnest(best.cols) with ordinality as k (num, n)
       join pg_attribute a on a.attrelid = c.oid and a.attnum = k.num) as key,
    (select json_agg(json_build_object(
       'num', a.attnum, 'name', a.attname, 'type', format_type(a.atttypid, -1),
       'content', case when item.typname in ('json', 'jsonb') then item.typname else 'text' end,
       'array', whole.typcategory = 'A',
       'fixed', (a.attrelid, a.attnum) in (select relation, num from fixed)) order by a.attnum)
     from pg_attribute a
       join plain declared on declared.oid = a.atttypid
       join pg_type whole on whole.oid = declared.base
       join plain element on element.oid = case when whole.typcategory = 'A' then whole.typelem else whole.oid end
       join pg_type item on item.oid = element.base
     where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
       and (item.typcategory = 'S' and item.typname <> 'char' or item.typname in ('json', 'jsonb'))) as columns
  from pg_class c join pg_namespace s on s.oid = c.relnamespace cross join lateral (
    select json_agg(o::int8 order by o) as oids, sum(pg_table_size(o)) as bytes, sum(pg_relation_size(o)) as "heapBytes"
    from (select c.oid as o union select relid from pg_partition_tree(c.oid)) as part
  ) as own
  where s.nspname = $1 and c.relkind in ('r', 'p', 'f') and not c.relispartition and c.relpersistence <> 't'
  order by c.relname collate "C"`;

/** Every table of the schema, in a fixed order (locks are taken in it). */
export async function readCatalog(
  client: ClientBase,
  schema: string,
  extraSkipped: readonly string[],
): Promise<readonly Relation[]> {
  const { rows } = await client.query<RelationRow>(readRelations, [schema]);
  return rows.map((row) => {
    const heapBytes = Number(row.heapBytes);
    return {
      name: row.name,
      oids: row.oids,
      from: `${row.kind === 'r' ? 'only ' : ''}${quote(schema)}.${quote(row.name)}`,
      key: row.key ?? undefined,
      columns: (row.columns ?? []).map((column) => ({
        num: column.num,
        name: column.name,
        type: column.type,
        shape: { content: column.content === 'text' ? 'text' : 'json', array: column.array },
        fixed: column.fixed,
      })),
      skipped: row.kind === 'f' ? 'foreign table' : skippedRole(row.name, extraSkipped),
      // -1: never analyzed. 500 bytes is the middle of LiteLLM's rows.
      estimatedRows: row.rows >= 0 ? Math.round(row.rows) : Math.ceil(heapBytes / 500),
      bytes: Number(row.bytes),
      heapBytes,
      interferes: row.interferes,
    };
  });
}

/**
 * The tables that are searched, with the columns that can be rewritten.
 * @param stays of a column that is `fixed`, whether it is rewritten nevertheless
 */
export function searched(
  catalog: readonly Relation[],
  stays: (relation: Relation, column: Column) => boolean = () => false,
): readonly Relation[] {
  return catalog
    .filter(({ skipped }) => skipped === undefined)
    .map((relation) => ({
      ...relation,
      columns: relation.columns.filter((column) => !column.fixed || stays(relation, column)),
    }))
    .filter(({ columns }) => columns.length > 0);
}

export const quote = (name: string): string => escapeIdentifier(name);
/**
 * A column of a row `a` as a text that is compared byte for byte, and searched: under a nondeterministic collation of its
 * own, texts that differ are equal, and Postgres matches no pattern. A database's own collation is deterministic.
 */
export const textOf = (name: string): string => `a.${quote(name)}::text collate "default"`;
export const literal = (text: string): string => escapeLiteral(text);
