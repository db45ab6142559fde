/**
 * Decides how long to wait between two batches, from samples of a busy or an idle Postgres. Holds no clock and no timer:
 * it is told what was seen, and answers with waits.
 */
export interface BackOff {
  observe(sample: Sample): void;
  /** How long to wait after work of this length, in ms: from 0 up to `longestWaitMs`. */
  waitAfter(busyMs: number): number;
}

export interface Sample {
  /** How long a cheap statement took, always the same one, in ms. */
  readonly latencyMs: number;
  /** Transactions of others that were under way at that moment. */
  readonly others: number;
}

/** Latencies up to this many times the baseline are left to chance. */
const tolerated = 2;
/** A shorter latency than this is as good as none: below it, a scheduler's whim doubles it. */
const floorMs = 1;
/** The median of so many latencies counts, so that one checkpoint does not. */
const recent = 5;
/** Others that were not seen at any of so many looks are not at work: what is under way at one is a matter of chance. */
const recentOthers = 40;
/** Resting for nine times the work, stage is at work for a tenth of the time: a median hardly notices it. */
const restBesideOthers = 9;
/** So that stage goes on, however slowly, and notices soon when the load has gone. */
export const longestWaitMs = 2_000;

/**
 * Waits for two reasons, each as many times as long as the work took:
 *
 * - Others are at work: nine times. Where nobody is, stage goes as fast as it can.
 * - The latency is over twice its baseline, the lowest decile so far: as many times as it is over that.
 *
 * A slowness that lasts nine times as long as the calm before it becomes the baseline, so that stage ends some day.
 */
export function createBackOff(): BackOff {
  const decile = createLowestDecile();
  const latencies: number[] = [];
  const counts: number[] = [];
  const keep = (list: number[], value: number, length: number): void => {
    list.push(value);
    if (list.length > length) list.shift();
  };
  const slowness = (): number => {
    if (latencies.length < recent) return 0;
    const median = latencies.toSorted((a, b) => a - b)[(recent - 1) / 2] as number;
    return Math.max(0, median / Math.max(decile.value(), floorMs) - tolerated);
  };
  const rest = (): number => (counts.some((count) => count > 0) ? restBesideOthers : 0);
  return {
    observe({ latencyMs, others }) {
      decile.add(latencyMs);
      keep(latencies, latencyMs, recent);
      keep(counts, others, recentOthers);
    },
    waitAfter: (busyMs) => Math.min(longestWaitMs, (slowness() + rest()) * busyMs),
  };
}

/** In buckets that are a tenth apart, as a stage of hours has very many latencies. */
function createLowestDecile(): { add(value: number): void; value(): number } {
  const counts = new Map<number, number>();
  let total = 0;
  return {
    add(value) {
      const bucket = Math.ceil(Math.log(Math.max(value, floorMs)) / Math.log(1.1));
      counts.set(bucket, (counts.get(bucket) ?? 0) + 1);
      total += 1;
    },
    value() {
      let below = 0;
      for (const bucket of [...counts.keys()].sort((a, b) => a - b)) {
        below += counts.get(bucket) ?? 0;
        if (below * 10 >= total) return 1.1 ** bucket;
      }
      return floorMs;
    },
  };
}
