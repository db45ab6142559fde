import type pg from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { NamedKey } from '../../rotation/keys.ts';
import type { Relation } from '../postgres/catalog.ts';
import { countSealed } from '../surveys/count.ts';

/** Up to here, opening every value once more inside the transaction costs less than half a second. */
const smallEnough = { rows: 200_000, bytes: 256 * 1024 * 1024, values: 20_000 };

/**
 * A look at everything, for small databases, that shares nothing with the bookkeeping of what was staged and what
 * changed since: no value may be left under `leaving`, and at least `expected` of the `values` must be under `reached`.
 */
export async function closingSearch(
  client: pg.ClientBase,
  relations: readonly Relation[],
  {
    reached,
    leaving,
    values,
    expected = values,
  }: { reached: NamedKey; leaving: readonly NamedKey[]; values: number; expected?: number },
): Promise<void> {
  if (!isSmall(relations, values)) return;
  const { underExpected, underOthers, othersIn } = await countSealed(client, relations, reached, leaving);
  if (underOthers === 0 && underExpected >= expected) return;
  const places = underOthers > 0 ? ` (in ${othersIn.join(', ')})` : '';
  throw new RotationError(
    failureTypes.countMismatch,
    `before the commit, ${underExpected} values open with the ${reached.label} and ${underOthers} with a key that is to be left${places}; expected at least ${expected} and 0; nothing was changed; look for triggers that write sealed values, or report this as a bug`,
    { facts: { underExpected, underOthers, expected } },
  );
}

function isSmall(relations: readonly Relation[], values: number): boolean {
  const rows = relations.reduce((sum, { estimatedRows }) => sum + estimatedRows, 0);
  const bytes = relations.reduce((sum, relation) => sum + relation.bytes, 0);
  return values <= smallEnough.values && rows <= smallEnough.rows && bytes <= smallEnough.bytes;
}
