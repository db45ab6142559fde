import type pg from 'pg';
import type { SwapReport } from '../port.ts';
import { journalSchema } from './journal.ts';

/** What the journal says about a rotation: which key the database is under, and since which transaction. */
export interface Marker {
  readonly side: 'previous' | 'pending';
  readonly report: SwapReport | null;
  /** The before-images are gone: there is no way back any more. */
  readonly dropped: boolean;
  /** Rows that no transaction from here on has written are as the swap left them (a 32-bit id); null: look at all. */
  readonly swapHorizon: string | null;
  readonly swapXid: string | null;
}

const lockMarker = `
  select side, report, dropped_at is not null as dropped, (swap_horizon % 4294967296)::text as "swapHorizon", (swap_xid % 4294967296)::text as "swapXid",
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint - swap_horizon between 0 and 2000000000 as usable
  from ${journalSchema}.rotation where rotation = $1 for update`;
// A transaction that began before the swap may write after it, with a smaller id than the swap's: hence the horizon.
const markPending = `
  update ${journalSchema}.rotation
  set side = 'pending', report = $2, swapped_at = now(), dropped_at = null,
    swap_horizon = pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    swap_xid = pg_current_xact_id()::text::bigint
  where rotation = $1`;
const markPrevious = `
  update ${journalSchema}.rotation set side = 'previous', report = null, restored_at = now(), swap_horizon = null, swap_xid = null
  where rotation = $1`;
const observeSide = `
  select r.side, coalesce((select sum(s.rows) from ${journalSchema}.staged_relation s where s.rotation = r.rotation), 0) as staged
  from ${journalSchema}.rotation r where r.rotation = $1`;

/** The marker, locked until the transaction ends. */
export async function readMarker(client: pg.ClientBase, rotation: string): Promise<Marker> {
  const { rows } = await client.query<Marker & { usable: boolean | null }>(lockMarker, [rotation]);
  const [row] = rows;
  if (row === undefined) throw new Error('the journal does not know the rotation');
  const { side, report, dropped, swapHorizon, swapXid, usable } = row;
  return usable === true
    ? { side, report, dropped, swapHorizon, swapXid }
    : { side, report, dropped, swapHorizon: null, swapXid: null };
}

export async function markSwapped(
  client: pg.ClientBase,
  rotation: string,
  report: SwapReport,
): Promise<void> {
  await client.query(markPending, [rotation, JSON.stringify(report)]);
}

export async function markRestored(client: pg.ClientBase, rotation: string): Promise<void> {
  await client.query(markPrevious, [rotation]);
}

export async function readSide(
  client: pg.ClientBase,
  rotation: string,
): Promise<{ side: 'previous' | 'pending'; staged: number }> {
  const { rows } = await client.query<{ side: 'previous' | 'pending'; staged: string }>(observeSide, [
    rotation,
  ]);
  const [row] = rows;
  return row === undefined ? { side: 'previous', staged: 0 } : { side: row.side, staged: Number(row.staged) };
}
