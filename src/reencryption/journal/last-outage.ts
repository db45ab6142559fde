import type pg from 'pg';
import type { MeasuredOutage } from '../../rotation/measured-outage.ts';
import { journalSchema } from './journal.ts';

// Evidence is written by the workflow, as its result; of an older release it may lack the parts.
const readLast = `
  select to_char(swapped_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as at,
    (evidence #>> '{outageParts,restartMs}')::float8 as "restartMs",
    (evidence #>> '{outageParts,swapMs}')::float8 as "swapMs",
    coalesce((evidence #>> '{reencrypted,values}')::float8, 0) as values
  from ${journalSchema}.rotation
  where side = 'pending' and swapped_at is not null
    and evidence #>> '{outageParts,restartMs}' is not null and evidence #>> '{outageParts,swapMs}' is not null
  order by swapped_at desc limit 1`;

/** How long the parts of the last uninterrupted rotation's outage took; null where none is on record. */
export async function readLastOutage(client: pg.ClientBase): Promise<MeasuredOutage | null> {
  return (await client.query<MeasuredOutage>(readLast)).rows[0] ?? null;
}
