import { setTimeout } from 'node:timers/promises';
import type pg from 'pg';
import { journalSchema } from '../journal/journal.ts';
import type { FenceToken } from '../journal/lease.ts';
import { prepared } from '../postgres/prepared.ts';
import { createBackOff } from './back-off.ts';

/** Makes way for LiteLLM while it is at work, and while Postgres is slower than it was. */
export interface Yielding {
  /** To be called between two batches, while the sampling session is idle. Rejects when `signal` aborts. */
  wait(signal: AbortSignal): Promise<void>;
  /** How long it has waited so far, in ms. */
  readonly waitedMs: number;
}

/** So often a sample is taken, at most: each costs one commit. */
const sampleEveryMs = 25;
/** Before the first batch, so that the baseline is that of a Postgres without us. */
const firstSamples = 20;

// Its time is made of what a request of LiteLLM's waits for, too: a turn on a processor, a lock, a commit that reaches
// the disk. It locks a row that is ours, and leaves no new version of it. Who is at work is hidden from an ordinary role
// in pg_stat_activity, and shown to everybody in pg_locks: each transaction holds a lock on its own virtual id. Autovacuum
// has no user; it keeps out of the way by itself.
const sample = `
  select (
      select count(*) from pg_locks as l
      where l.locktype = 'virtualxid' and l.mode = 'ExclusiveLock' and l.pid <> all ($2::int[])
        and exists (select 1 from pg_stat_get_activity(l.pid) as a where a.usesysid is not null)
    ) as others
  from ${journalSchema}.lease where rotation = $1 for key share`;

/** @param sampling a session whose statements commit by themselves; @param own all sessions that are ours */
export async function startYielding(
  sampling: pg.ClientBase,
  own: readonly pg.ClientBase[],
  fence: FenceToken,
): Promise<Yielding> {
  const backOff = createBackOff();
  const pids = own.map((client) => (client as pg.ClientBase & { processID: number | null }).processID);
  let sampledAt = 0;
  let waitedMs = 0;
  const take = async (): Promise<void> => {
    const since = performance.now();
    const { rows } = await sampling.query<{ others: string }>(prepared(sample, [fence.rotation, pids]));
    sampledAt = performance.now();
    backOff.observe({ latencyMs: sampledAt - since, others: Number(rows[0]?.others ?? 0) });
  };
  for (let at = 0; at < firstSamples; at += 1) await take();
  let busySince = performance.now();
  return {
    get waitedMs() {
      return waitedMs;
    },
    async wait(signal) {
      const busyMs = performance.now() - busySince;
      if (performance.now() - sampledAt >= sampleEveryMs) await take();
      const waitMs = backOff.waitAfter(busyMs);
      if (waitMs < 1) {
        busySince = performance.now();
        return;
      }
      await setTimeout(waitMs, undefined, { signal });
      waitedMs += waitMs;
      busySince = performance.now();
    },
  };
}
