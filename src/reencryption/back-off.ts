/**
 * Decides how long to wait between two batches, from how long a cheap statement takes. Holds no clock and no timer: it is
 * told latencies and answers with waits.
 */
export interface BackOff {
  /** How long one more of the same cheap statement took, in ms. */
  observe(latencyMs: number): void;
  /** How long to wait after a batch that took this long, in ms: from 0 up to `longestWaitMs`. */
  waitAfter(batchMs: number): number;
}

/** Latencies up to this many times the baseline are left to chance. */
const tolerated = 2;
/** A shorter latency than this is as good as none: below it, a scheduler's whim doubles it. */
const floorMs = 1;
/** The median of so many latencies counts, so that one checkpoint does not. */
const recent = 5;
/** So that stage goes on, however slowly, and notices soon when the load has gone. */
export const longestWaitMs = 2_000;

/**
 * Waits as soon as the latency is over twice its baseline, the lowest decile so far: then as many times as long as the
 * batch took as the latency is over that. So at three times the baseline stage takes half of the time, at five times a
 * quarter. A load that lasts nine times as long as the calm before it becomes the baseline, so that stage ends some day.
 */
export function createBackOff(): BackOff {
  const decile = createLowestDecile();
  const last: number[] = [];
  return {
    observe(latencyMs) {
      decile.add(latencyMs);
      last.push(latencyMs);
      if (last.length > recent) last.shift();
    },
    waitAfter(batchMs) {
      if (last.length < recent) return 0;
      const median = last.toSorted((a, b) => a - b)[(recent - 1) / 2] as number;
      const load = median / Math.max(decile.value(), floorMs);
      return Math.min(longestWaitMs, Math.max(0, (load - tolerated) * batchMs));
    },
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
