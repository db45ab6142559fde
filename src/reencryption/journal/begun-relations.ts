import type pg from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import { searched, type Relation } from '../postgres/catalog.ts';
import { journalSchema } from './journal.ts';

/** What a rotation has begun with stays in it: its values are counted in the plan, or were swapped. */
export interface BegunRelations {
  /** By the names that they had. */
  readonly tables: readonly string[];
  /**
   * The tables that are searched. A column that has got a unique index or a reference since preflight, or since it was
   * staged, is among theirs; `Refused` where it has become the key by which a row is found again.
   */
  searched(catalog: readonly Relation[]): readonly Relation[];
}

interface BegunRow {
  relation: string;
  oids: number[];
  columns: number[];
  carried: number[];
}

// Numbers of columns; `carried`: of those in which anything is, or may be as long as a stage has not finished.
const read = `
  select r.relation, array_to_json(r.relation_oids::int8[]) as oids, n.columns,
    case when r.done then array(select n.columns[at] from unnest(r.touched) as at) else n.columns end as carried
  from ${journalSchema}.staged_relation as r,
    lateral (select array(select split_part(c, ' ', 1)::int from unnest(r.columns) with ordinality as u (c, at) order by at) as columns) as n
  where r.rotation = $1`;

// A pause may last for weeks between preflight, which has kept its plan, and stage.
const readPlanned = `
  select line ->> 'table' as "table", line ->> 'column' as "column"
  from ${journalSchema}.rotation as o, jsonb_array_elements(o.plan #> '{database,lines}') as line
  where o.rotation = $1 and line ->> 'remark' in ('', 'sealed twice')`;

export async function readBegun(client: pg.ClientBase, rotation: string): Promise<BegunRelations> {
  const { rows } = await client.query<BegunRow>(read, [rotation]);
  const { rows: planned } = await client.query<{ table: string; column: string }>(readPlanned, [rotation]);
  const begun = new Map(rows.flatMap((row) => row.oids.map((oid) => [oid, row] as const)));
  return {
    tables: rows.map(({ relation }) => relation),
    searched: (catalog) =>
      searched(catalog, ({ name: table, oids, key = [] }, { num, name }) => {
        const row = oids.map((oid) => begun.get(oid)).find((found) => found?.columns.includes(num));
        const counted = planned.some((line) => line.table === table && line.column === name);
        if (row === undefined && !counted) return false;
        if (!key.some((column) => column.num === num)) return true;
        if (counted || row?.carried.includes(num) === true) throw becameKey(`${table}.${name}`);
        return false;
      }),
  };
}

function becameKey(column: string): RotationError {
  return new RotationError(
    failureTypes.refused,
    `${column} has become part of the primary key, or of what stands in for it, since the rotation has begun with its values; expected the key of before, by which each row is found again; nothing was changed; give the table its key back`,
    { facts: { column } },
  );
}
