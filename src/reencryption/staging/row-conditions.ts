import type { StagedRelation } from '../journal/staged-relation.ts';
import { quote, textOf } from '../postgres/catalog.ts';
import { writtenSince } from '../postgres/horizon.ts';
import type { Direction } from './direction.ts';

/** Conditions of SQL on a row `a` of a relation and its staged row `s`. */

export function isSameRow({ id, key }: StagedRelation): string {
  const keys = key.map(({ name, type }, at) => `a.${quote(name)} = s.key[${at + 1}]::${type}`);
  return [`s.relation_id = ${id}`, ...keys].join(' and ');
}

/** The same, where the row is `r`, as `selectCandidates` gives it. */
export function isStagedFor({ id, key }: StagedRelation): string {
  return `s.relation_id = ${id} and s.key = array[${key.map((_, at) => `r.k${at + 1}`).join(', ')}]`;
}

/** Every cell that is carried over is, byte for byte, what was staged for that side. Unknown where a cell became null. */
export function isOn({ columns, touched }: StagedRelation, side: 'before' | 'after'): string {
  const cells = columns
    .filter(({ at }) => touched.includes(at))
    .map(({ name, at }) => `(s.${side}[${at}] is null or ${textOf(name)} = s.${side}[${at}])`);
  return `(${cells.join(' and ') || 'true'})`;
}

/** The row was written since it was looked at. */
export function isChanged(
  relation: StagedRelation,
  { horizon, except }: Pick<Direction, 'horizon' | 'except'>,
): string {
  const since = horizon(relation);
  const writer = except(relation);
  const young = since === null ? 'true' : writtenSince(since);
  return `(${writer === null ? young : `${young} and a.xmin <> '${writer}'::xid`})`;
}
