import { hash } from 'node:crypto';
import type pg from 'pg';
import { journalSchema } from './journal.ts';
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
 * `prepared`: the session keeps it, for one that comes again and again.
 */
export async function queryFenced<T extends object>(
  client: pg.ClientBase,
  fence: FenceToken,
  statement: string,
  parameters: readonly unknown[],
  { prepared = false }: { readonly prepared?: boolean } = {},
): Promise<T> {
  const { rows } = await client.query<T & { fenced: boolean }>({
    ...(prepared ? { name: nameOf(statement) } : {}),
    text: statement,
    values: [fence.rotation, fence.token, ...parameters],
  });
  if (rows[0]?.fenced !== true) throw fencedOut(fence.rotation);
  return rows[0];
}

// By its text: a session outlives relations and their numbers, and node-postgres refuses a name for a second text.
const nameOf = (statement: string): string => `litellm_rotate_${hash('sha256', statement).slice(0, 32)}`;
