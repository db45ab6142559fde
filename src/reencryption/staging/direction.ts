import type { StagedRelation } from '../journal/staged-relation.ts';
import type { Reseal } from '../values/reseal.ts';

/**
 * Which way the values go. A staged row says what its cells are on either side, so forth and back are the same work:
 * first rows that changed since get a staged row that is true again, then every cell that is on `source` is set to
 * `target`, byte for byte.
 */
export interface Direction {
  readonly source: 'before' | 'after';
  readonly target: 'before' | 'after';
  /** Seals a value with the target's key, unless it is under it. */
  readonly reseal: Reseal;
  /** Rows that no transaction from here on has written need no look; null: look at all. */
  readonly horizon: (relation: StagedRelation) => string | null;
  /** Rows that this transaction wrote need no look either: the swap's own, on the way back. */
  readonly except: (relation: StagedRelation) => string | null;
}
