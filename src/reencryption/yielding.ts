import { setTimeout } from 'node:timers/promises';
import type pg from 'pg';
import { createBackOff } from './back-off.ts';
import { journalSchema } from './journal.ts';
import type { FenceToken } from './lease.ts';

/** Makes way for LiteLLM while Postgres is slower than it was. */
export interface Yielding {
  /** To be called between two batches, while the session is idle. Rejects when `signal` aborts. */
  after(batchMs: number, signal: AbortSignal): Promise<void>;
  /** How long it has waited so far, in ms. */
  readonly waitedMs: number;
}

/** So often the latency is measured, at most: each time costs one commit. */
const probeEveryMs = 100;
/** Before the first batch, so that the baseline is that of a Postgres without us. */
const firstProbes = 10;

// What a request of LiteLLM's waits for, too: a turn on a processor, a lock, a commit that reaches the disk. It locks a
// row that is ours, and leaves no new version of it.
const probe = `select 1 from ${journalSchema}.lease where rotation = $1 for key share`;

/** @param client a session whose statements commit by themselves */
export async function startYielding(client: pg.ClientBase, fence: FenceToken): Promise<Yielding> {
  const backOff = createBackOff();
  let probedAt = 0;
  let waitedMs = 0;
  const measure = async (): Promise<void> => {
    const since = performance.now();
    await client.query(probe, [fence.rotation]);
    probedAt = performance.now();
    backOff.observe(probedAt - since);
  };
  for (let at = 0; at < firstProbes; at += 1) await measure();
  return {
    get waitedMs() {
      return waitedMs;
    },
    async after(batchMs, signal) {
      if (performance.now() - probedAt >= probeEveryMs) await measure();
      const waitMs = backOff.waitAfter(batchMs);
      if (waitMs < 1) return;
      await setTimeout(waitMs, undefined, { signal });
      waitedMs += waitMs;
    },
  };
}
