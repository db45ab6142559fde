import type pg from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import { type FenceToken, holdLease } from '../journal/lease.ts';
import { quote, textOf, type KeyColumn, type Relation } from '../postgres/catalog.ts';
import { inTransaction } from '../postgres/connection.ts';
import { databaseError, sqlState } from '../postgres/database-error.ts';
import { encodeTextArray } from '../postgres/text-array.ts';

export interface KeyedRelation extends Relation {
  readonly key: readonly KeyColumn[];
}

/** A row with its cells as they were read and as they become, in the relation's columns; null where one stays. */
export interface ImprovedRow {
  readonly key: readonly string[];
  readonly before: readonly (string | null)[];
  readonly after: readonly (string | null)[];
  /** Values in it that are sealed in another format, or once instead of twice. */
  readonly upgraded: number;
  readonly repaired: number;
}

/**
 * Rows are locked without waiting, so nobody can wait for us in a circle. Only a trigger of LiteLLM's may take a further
 * lock (one on LiteLLM_MCPServerTable writes a row of LiteLLM_Config): we give up on that long before Postgres looks for
 * deadlocks, after a second by default, and might end LiteLLM's transaction.
 */
const impatience = `set local lock_timeout = '100ms'`;
/** lock_not_available and deadlock_detected: the batch is for the next pass. */
const heldByOthers = new Set<string | undefined>(['55P03', '40P01']);

/**
 * Writes the rows that nobody else holds, each on the condition that its cells are what was read, in one transaction.
 * Returns those that were written. `FencedOut` when a newer attempt has taken over: then nothing is.
 */
export async function writeImprovedRows(
  client: pg.ClientBase,
  fence: FenceToken,
  relation: KeyedRelation,
  rows: readonly ImprovedRow[],
): Promise<readonly ImprovedRow[]> {
  try {
    return await inTransaction(client, 'write', async () => {
      await holdLease(client, fence);
      await client.query(impatience);
      const free = await lockRows(client, relation, rows);
      return free.length === 0 ? [] : await updateRows(client, relation, free);
    });
  } catch (error) {
    if (heldByOthers.has(sqlState(error))) return [];
    throw databaseError(error, `re-encrypting values of ${relation.name}`);
  }
}

async function lockRows(
  client: pg.ClientBase,
  relation: KeyedRelation,
  rows: readonly ImprovedRow[],
): Promise<readonly ImprovedRow[]> {
  const { names, lists } = keysOf(relation, rows);
  const { rows: locked } = await client.query<{ n: string }>(
    `select u.n from ${unnest(names)} join ${relation.from} as a on ${sameRow(relation)} for no key update of a skip locked`,
    lists.map(encodeTextArray),
  );
  return locked.map(({ n }) => rows[Number(n) - 1] as ImprovedRow);
}

async function updateRows(
  client: pg.ClientBase,
  relation: KeyedRelation,
  rows: readonly ImprovedRow[],
): Promise<readonly ImprovedRow[]> {
  const used = relation.columns
    .map((column, at) => ({ ...column, at }))
    .filter(({ at }) => rows.some(({ after }) => after[at] != null));
  const keys = keysOf(relation, rows);
  const names = [...keys.names, ...used.flatMap(({ at }) => [`b${at}`, `a${at}`])];
  const lists = [
    ...keys.lists,
    ...used.flatMap(({ at }) => [
      rows.map(({ before }) => before[at] ?? null),
      rows.map(({ after }) => after[at] ?? null),
    ]),
  ];
  const set = used.map(
    ({ name, type, at }) =>
      `${quote(name)} = case when u.a${at} is null then a.${quote(name)} else u.a${at}::${type} end`,
  );
  const isOn = (side: 'a' | 'b') =>
    used.map(({ name, at }) => `(u.${side}${at} is null or ${textOf(name)} = u.${side}${at})`).join(' and ');
  const { rows: updated } = await client.query<{ n: string; kept: boolean }>(
    `update ${relation.from} as a set ${set.join(', ')} from ${unnest(names)}
     where ${sameRow(relation)} and ${isOn('b')} returning u.n, ${isOn('a')} as kept`,
    lists.map(encodeTextArray),
  );
  if (updated.some(({ kept }) => !kept)) throw altered(relation.name);
  return updated.map(({ n }) => rows[Number(n) - 1] as ImprovedRow);
}

function keysOf({ key }: KeyedRelation, rows: readonly ImprovedRow[]) {
  return {
    names: key.map((_, at) => `k${at}`),
    lists: key.map((_, at) => rows.map((row) => row.key[at] ?? null)),
  };
}

const unnest = (names: readonly string[]): string =>
  `unnest(${names.map((_, at) => `$${at + 1}::text[]`).join(', ')}) with ordinality as u (${[...names, 'n'].join(', ')})`;

const sameRow = ({ key }: KeyedRelation): string =>
  key.map(({ name, type }, at) => `a.${quote(name)} = u.k${at}::${type}`).join(' and ');

function altered(table: string): RotationError {
  return new RotationError(
    failureTypes.countMismatch,
    `a row of ${table} did not become what was written to it; expected the values sealed anew; nothing of that batch was kept; look for triggers on the table that alter an update`,
    { facts: { table } },
  );
}
