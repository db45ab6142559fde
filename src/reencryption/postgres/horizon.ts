import type pg from 'pg';

/** The oldest transaction that was in progress at some moment, or would have been the next one. */
export interface Horizon {
  /** With its epoch, to be kept. */
  readonly full: string;
  /** 32 bits of it, as rows carry them. */
  readonly xid: string;
}

const take = `
  select h::text as full, (h % 4294967296)::text as xid
  from (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as h) as taken`;

/** To be taken before anything is read: what is then not seen yet is written by a transaction from there on. */
export async function takeHorizon(client: pg.ClientBase): Promise<Horizon> {
  return (await client.query<Horizon>(take)).rows[0] as Horizon;
}

/** A condition on a row `a`: a transaction from the horizon on has written it. True until 2^31 transactions later. */
export const writtenSince = (xid: string): string => `(age(a.xmin) <= age('${xid}'::xid))`;
