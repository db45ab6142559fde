import type { PlanParts } from './plan-parts.ts';

/** How long the proxy is expected not to answer, in seconds, and where each figure comes from. */
export interface OutageEstimate {
  readonly seconds: number;
  readonly restartSeconds: number;
  readonly swapSeconds: number;
  readonly basis: string;
}

/** LiteLLM takes 11 to 15 s from start to ready and up to 2.5 s to stop on 2 cores (1.106 to 1.109, measured). */
const restartSeconds = 18;
/** The swap of 100,000 values in one transaction on 2 cores (measured by this project's bench). */
const swapSecondsPerValue = 0.8 / 100_000;
/** Of fewer values, a swap's time is that of its fixed parts, and says nothing of how it grows. */
const enoughValues = 1_000;

/** The outage by the last rotation of this database, or where there is none by constants and what the inventory took. */
export function estimateOutage({ rotationCase, database }: PlanParts): OutageEstimate {
  const { lastOutage: last, values } = database;
  const restart = last === null ? restartSeconds : last.restartMs / 1000;
  const restartBasis =
    last === null
      ? 'measured on 2 cores; this database has no earlier rotation to go by'
      : `as in the rotation of ${last.at}`;
  const swap = rotationCase.reencrypt === null ? { seconds: 0, basis: '' } : estimateSwap(database);
  const seconds = restart + swap.seconds;
  const swapped = rotationCase.reencrypt === null ? '' : ` and a swap of ${values} values (${swap.basis})`;
  return {
    seconds: Math.ceil(seconds),
    restartSeconds: round(restart),
    swapSeconds: round(swap.seconds),
    basis: `a restart of LiteLLM (${round(restart)} s, ${restartBasis})${swapped}`,
  };
}

function estimateSwap({ values, seconds, lastOutage: last }: PlanParts['database']): {
  seconds: number;
  basis: string;
} {
  if (last !== null && last.values >= enoughValues) {
    const swap = (last.swapMs / 1000 / last.values) * values;
    return {
      seconds: swap,
      basis: `${round(swap)} s, at the rate of the ${last.values} values swapped then`,
    };
  }
  const writing = values * swapSecondsPerValue;
  return {
    // The swap looks at every row once more: at its header, and in small databases for sealed values.
    seconds: writing + seconds,
    basis: `${round(writing)} s to write them, measured on 2 cores, and at most the ${round(seconds)} s that finding them took just now`,
  };
}

const round = (seconds: number): number => Math.round(seconds * 10) / 10;
