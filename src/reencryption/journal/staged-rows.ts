import type pg from 'pg';
import { encodeTextArray } from '../postgres/text-array.ts';
import { fenceRow, isFenced, queryFenced } from './fenced-statement.ts';
import { journalSchema } from './journal.ts';
import type { FenceToken } from './lease.ts';
import type { StagedRelation } from './staged-relation.ts';

/** What a row's cells are on either side, in the order of its relation's columns; null where a cell holds nothing that is carried over. */
export interface StagedRow {
  readonly key: readonly string[];
  readonly before: readonly (string | null)[];
  readonly after: readonly (string | null)[];
  /** Values in the row that are carried over. */
  readonly sealed: number;
}

/** Writes staged rows and the relation's progress, all or nothing, unless a newer attempt has taken over. */
export async function writeStagedRows(
  client: pg.ClientBase,
  fence: FenceToken,
  relation: StagedRelation,
  rows: readonly StagedRow[],
  { overwrite = false }: { readonly overwrite?: boolean } = {},
): Promise<{ readonly rows: number; readonly values: number }> {
  const used = relation.columns
    .map(({ at }, index) => ({ at, index }))
    .filter(({ index }) => rows.some(({ before, after }) => before[index] != null || after[index] != null));
  const places = used.map(({ at }) => at);
  const keys = relation.key.map((_, at) => rows.map(({ key }) => key[at] as string));
  const cells = used.flatMap(({ index }) => [
    rows.map(({ before }) => before[index] ?? null),
    rows.map(({ after }) => after[index] ?? null),
  ]);
  const lists = [rows.map(({ sealed }) => `${sealed}`), ...keys, ...cells];
  const written = await queryFenced<{ rows: string; values: string }>(
    client,
    fence,
    insertRows(relation, places, overwrite),
    [relation.id, places, ...lists.map(encodeTextArray)],
    { keep: true },
  );
  return { rows: Number(written.rows), values: Number(written.values) };
}

function insertRows(relation: StagedRelation, used: readonly number[], overwrite: boolean): string {
  const keyNames = relation.key.map((_, at) => `k${at + 1}`);
  const names = ['sealed', ...keyNames, ...used.flatMap((at) => [`b${at}`, `a${at}`])];
  const side = (letter: string): string =>
    `array[${Array.from({ length: relation.width }, (_, at) => (used.includes(at + 1) ? `${letter}${at + 1}` : 'null')).join(', ')}]::text[]`;
  const conflict = overwrite
    ? `on conflict (relation_id, key)
        do update set before = excluded.before, after = excluded.after, sealed = excluded.sealed`
    : '';
  return `
    with ${fenceRow}, inserted as (
      insert into ${journalSchema}.staged as s (relation_id, key, before, after, sealed)
      select $3, array[${keyNames.join(', ')}], ${side('b')}, ${side('a')}, sealed::int
      from fence, unnest(${names.map((_, at) => `$${at + 5}::text[]`).join(', ')}) as u (${names.join(', ')})
      ${conflict}
      returning sealed
    ), total as (
      select count(*) as rows, coalesce(sum(sealed), 0) as sealed from inserted
    ), progress as (
      update ${journalSchema}.staged_relation as r
      set rows = r.rows + total.rows, sealed = r.sealed + total.sealed,
        touched = array(select distinct unnest(r.touched || $4::int[]))
      from fence, total where r.id = $3
    )
    select ${isFenced}, total.rows, total.sealed as values from total`;
}

/**
 * Parts of a WITH behind `gone`, which returns what was deleted of a relation's staged rows: `found` counts those that
 * are left, as a statement sees its tables as they were before it.
 */
export const countLeft = (relationId: number): string => `found as (
    select count(*) - (select count(*) from gone) as rows,
      coalesce(sum(s.sealed), 0) - (select coalesce(sum(sealed), 0) from gone) as values
    from ${journalSchema}.staged as s where s.relation_id = ${relationId}
  )`;

const finish = `
  with ${fenceRow}, finished as (
    update ${journalSchema}.staged_relation set done = true from fence where id = any ($3::int[])
  )
  select ${isFenced}`;

/** Notes that relations in which nothing was found are done with. */
export async function finishRelations(
  client: pg.ClientBase,
  fence: FenceToken,
  relations: readonly StagedRelation[],
): Promise<void> {
  const ids = relations.map(({ id }) => id);
  await queryFenced(client, fence, finish, [ids]);
}
