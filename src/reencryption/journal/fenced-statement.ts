import type pg from 'pg';
import { journalSchema } from './journal.ts';
import { prepared } from '../postgres/prepared.ts';
import { fencedOut, type FenceToken } from './lease.ts';

/**
 * A part of a WITH, for statements that commit by themselves: `fence` has a row while the token is the newest, and locks
 * the lease within the statement, so a stale writer cannot slip in between the look and the write. What writes takes
 * part only `from fence`. Parameters 1 and 2 are the rotation and the token.
 */
export const fenceRow = `fence as materialized (
    select 1 from ${journalSchema}.lease where rotation = $1 and token = $2 for share
  )`;

/** For the select list of such a statement. */
export const isFenced = 'exists (select 1 from fence) as fenced';

/**
 * Runs a statement that begins with `fenceRow` and returns one row with `isFenced`; `FencedOut` when it wrote nothing.
 * `keep`: prepared once a session.
 */
export async function queryFenced<T extends object>(
  client: pg.ClientBase,
  fence: FenceToken,
  statement: string,
  parameters: readonly unknown[],
  { keep = false }: { readonly keep?: boolean } = {},
): Promise<T> {
  const values = [fence.rotation, fence.token, ...parameters];
  const { rows } = await client.query<T & { fenced: boolean }>(
    keep ? prepared(statement, values) : { text: statement, values },
  );
  if (rows[0]?.fenced !== true) throw fencedOut(fence.rotation);
  return rows[0];
}
