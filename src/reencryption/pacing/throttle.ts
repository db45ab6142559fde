import { setTimeout } from 'node:timers/promises';

/** Waits as long as it takes to keep to a rate. */
export interface Throttle {
  /** To be called after `values` more were written. Rejects when `signal` aborts. */
  after(values: number, signal: AbortSignal): Promise<void>;
}

/** @param valuesPerSecond the highest mean rate since the first call; undefined: no limit */
export function createThrottle(valuesPerSecond: number | undefined): Throttle {
  let done = 0;
  let since: number | undefined;
  return {
    async after(values, signal) {
      if (valuesPerSecond === undefined) return;
      since ??= performance.now();
      done += values;
      const aheadMs = (done / valuesPerSecond) * 1000 - (performance.now() - since);
      if (aheadMs > 1) await setTimeout(aheadMs, undefined, { signal });
    },
  };
}
