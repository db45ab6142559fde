import type pg from 'pg';
import type { MeasuredOutage } from '../../rotation/measured-outage.ts';
import { journalSchema } from './journal.ts';

// Evidence is written by the workflow, as its result; of an older release it may lack the parts, and who can write to
// Temporal can have anything written: a text for a number would fail every plan from then on.
const isNumber = (path: string): string => `jsonb_typeof(evidence #> '${path}') = 'number'`;
const numberAt = (path: string): string => `(evidence #>> '${path}')::float8`;
const [restart, swap, values] = [
  '{outageParts,restartMs}',
  '{outageParts,swapMs}',
  '{reencrypted,values}',
] as const;
const readLast = `
  select to_char(swapped_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as at,
    ${numberAt(restart)} as "restartMs", ${numberAt(swap)} as "swapMs",
    case when ${isNumber(values)} then ${numberAt(values)} else 0 end as values
  from ${journalSchema}.rotation
  where side = 'pending' and swapped_at is not null and ${isNumber(restart)} and ${isNumber(swap)}
  order by swapped_at desc limit 1`;

/** How long the parts of the last uninterrupted rotation's outage took; null where none is on record. */
export async function readLastOutage(client: pg.ClientBase): Promise<MeasuredOutage | null> {
  return (await client.query<MeasuredOutage>(readLast)).rows[0] ?? null;
}
