import type pg from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { Fence } from '../../rotation/fence.ts';
import type { LeaseHolder } from '../port.ts';
import { applicationName } from '../postgres/connection.ts';
import { sqlState } from '../postgres/database-error.ts';
import { journalSchema } from './journal.ts';

const take = `
  update ${journalSchema}.lease
  set rotation = $1, target = $2, workflow_id = $3, run_id = $4,
      since = case when rotation = $1 then since else now() end,
      attempt_at = case when rotation = $1 then attempt_at end
  where rotation is null or rotation = $1`;
const read = `
  select rotation, target, workflow_id as "workflowId", run_id as "runId", since
  from ${journalSchema}.lease where rotation is not null`;
const remember = `insert into ${journalSchema}.rotation (rotation) values ($1) on conflict do nothing`;
const bump = `
  update ${journalSchema}.lease set token = token + 1, attempt_at = $2
  where rotation = $1 and coalesce(attempt_at <= $2, true) returning token`;
// As long as an attempt that is about to end may hold the lease's row: the longest of its steps but for the swap.
const patience = `savepoint asking; set local lock_timeout = '2s'`;
/**
 * Sessions of our own role in this database that have the lease in a transaction. Their attempts are no longer the
 * newest, whatever they are doing.
 */
const endHolders = `
  select pg_terminate_backend(pid)
  from (
    select distinct pid from pg_locks
    where relation = '${journalSchema}.lease'::regclass and mode in ('RowShareLock', 'RowExclusiveLock') and granted
      and database = (select oid from pg_database where datname = current_database())
  ) as holder
  join pg_stat_activity using (pid)
  where pid <> pg_backend_pid() and usename = current_user and application_name = '${applicationName}'`;
const held = `select 1 from ${journalSchema}.lease where rotation = $1 and token = $2`;
const release = `update ${journalSchema}.lease
  set rotation = null, target = null, workflow_id = null, run_id = null, since = null
  where rotation = $1 and token = $2`;
const releasedBy = `select 1 from ${journalSchema}.lease where rotation is null and token = $1`;

export async function acquireLease(
  client: pg.ClientBase,
  wanted: Omit<LeaseHolder, 'since'>,
): Promise<{ acquired: boolean; holder: LeaseHolder }> {
  const { rowCount } = await client.query(take, [
    wanted.rotation,
    wanted.target,
    wanted.workflowId,
    wanted.runId,
  ]);
  if (rowCount === 1) await client.query(remember, [wanted.rotation]);
  const holder = await readLease(client);
  if (holder === undefined) {
    throw new RotationError(
      failureTypes.databaseFailed,
      'the lease was released while it was read; try again',
    );
  }
  return { acquired: rowCount === 1, holder };
}

export async function readLease(client: pg.ClientBase): Promise<LeaseHolder | undefined> {
  const { rows } = await client.query<Omit<LeaseHolder, 'since'> & { since: Date }>(read);
  const [row] = rows;
  return row === undefined ? undefined : { ...row, since: row.since.toISOString() };
}

/**
 * The next token, for an attempt that was scheduled at `attemptAt` (ms since 1970, by the scheduler's clock). Must run
 * in a transaction. `FencedOut` when the lease is another's or nobody's, `Overtaken` when a later attempt has a token: one that was
 * handed to a frozen worker begins when that wakes, and must not take over from its own successor.
 *
 * An attempt that holds the lease for longer than a moment is frozen or cut off, or its statement is a long one: its
 * session is ended, and its transaction undone. Or else its locks would keep LiteLLM's tables from whoever takes over
 * until Postgres itself ends the session, which is two minutes later, or never while a statement runs.
 */
export async function nextToken(client: pg.ClientBase, rotation: string, attemptAt: number): Promise<number> {
  const wanted = [rotation, attemptAt];
  await client.query(patience);
  const { rows } = await client.query<{ token: string }>(bump, wanted).catch(async (error: unknown) => {
    if (sqlState(error) !== '55P03') throw error;
    await client.query('rollback to savepoint asking');
    await client.query(endHolders);
    return client.query<{ token: string }>(bump, wanted);
  });
  const [row] = rows;
  if (row === undefined) throw await notHeld(client, rotation);
  return Number(row.token);
}

/** Rejects unless the token is the newest: a look, for writers outside the database. */
export async function assertHeld(client: pg.ClientBase, { rotation, token }: FenceToken): Promise<void> {
  const { rowCount } = await client.query(held, [rotation, token]);
  if (rowCount !== 1) throw fencedOut(rotation);
}

/**
 * Rejects unless the token is the newest, and keeps it so until the transaction ends: `fence()` of a newer attempt
 * waits for the row, so no write of ours can land after the newer attempt has begun.
 */
export async function holdLease(client: pg.ClientBase, { rotation, token }: FenceToken): Promise<void> {
  const { rowCount } = await client.query(`${held} for update`, [rotation, token]);
  if (rowCount !== 1) throw fencedOut(rotation);
}

/** Gives the lease back. Given back already by the same attempt: does nothing. */
export async function releaseLease(client: pg.ClientBase, { rotation, token }: FenceToken): Promise<void> {
  const { rowCount } = await client.query(release, [rotation, token]);
  if (rowCount === 1) return;
  const already = await client.query(releasedBy, [token]);
  if (already.rowCount !== 1) throw fencedOut(rotation);
}

export type FenceToken = Pick<Fence, 'rotation' | 'token'>;

export function fencedOut(rotation: string): RotationError {
  return new RotationError(
    failureTypes.fencedOut,
    `a newer attempt or another rotation has taken over from this attempt of ${rotation}; this one writes nothing more`,
    { facts: { rotation } },
  );
}

async function notHeld(client: pg.ClientBase, rotation: string): Promise<RotationError> {
  const holder = await readLease(client);
  if (holder?.rotation === rotation)
    return new RotationError(
      failureTypes.overtaken,
      `an attempt of ${rotation} that was scheduled later has begun; expected this one to be the last; it writes nothing; if the clock of Temporal's host was set back, it is tried again`,
      { facts: { rotation } },
    );
  const found =
    holder === undefined ? 'nobody' : `rotation ${holder.rotation} of workflow ${holder.workflowId}`;
  return new RotationError(
    failureTypes.fencedOut,
    `the lease of this database is held by ${found}; expected rotation ${rotation}; take the lease first`,
    { facts: { rotation } },
  );
}
