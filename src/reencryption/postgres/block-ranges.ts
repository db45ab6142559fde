import type { Relation } from './catalog.ts';

/** Bytes, as Postgres is built by default; with other blocks there are more or fewer ranges. */
const blockSize = 8192;
const firstBlocks = 8;
/** So long a range should take, with all waits. */
const targetMs = 250;

/**
 * Conditions on the place (`ctid`) of a row `a`, which together find each row once: so that a long read takes many short
 * snapshots. While a snapshot is held, Postgres keeps every version of every row that LiteLLM updates, and each of its
 * queries for such a row passes all of them.
 *
 * A row that is updated meanwhile may move from a range that is yet to come to one that is done, or the other way. To be
 * read in one transaction, or places may change altogether. Ranges are read as such since Postgres 14 (release notes, "TID range").
 *
 * @param now in ms, from a clock that does not jump
 */
export function* blockRanges(
  { heapBytes }: Pick<Relation, 'heapBytes'>,
  now: () => number = () => performance.now(),
): Generator<string, void> {
  const blocks = Math.ceil(heapBytes / blockSize);
  let size = firstBlocks;
  let from = 0;
  while (from + size < blocks) {
    const since = now();
    yield `a.ctid >= '(${from},0)' and a.ctid < '(${from + size},0)'`;
    from += size;
    size = nextSize(size, now() - since);
  }
  // To the end, wherever that is by now.
  yield from === 0 ? 'true' : `a.ctid >= '(${from},0)'`;
}

function nextSize(size: number, tookMs: number): number {
  return Math.min(2 * size, Math.max(1, Math.round((size * targetMs) / Math.max(tookMs, 1))));
}
