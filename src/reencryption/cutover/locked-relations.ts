import type pg from 'pg';
import { readBegun } from '../journal/begun-relations.ts';
import { assertSameKey } from '../journal/canary.ts';
import type { FenceToken } from '../journal/lease.ts';
import { registerRelations, type StagedRelation } from '../journal/staged-relation.ts';
import type { Transition } from '../port.ts';
import type { Relation } from '../postgres/catalog.ts';
import type { Connections } from '../postgres/connection.ts';
import { lockSearched } from '../postgres/table-locks.ts';
import { refuseKeyless } from '../staging/keyless.ts';
import type { Reseal } from '../values/reseal.ts';

/**
 * The searched tables, with writers kept out until the transaction ends, and how far the rotation is with each. Refuses
 * another key than the one that was staged with, and values that `reseal` has an answer for in tables without a key.
 * Nothing is locked where nothing is carried over. What is skipped, or names rows, only since the rotation has begun with
 * it stays in.
 */
export async function lockRelations(
  client: pg.ClientBase,
  connections: Connections,
  transition: Transition,
  { rotation }: FenceToken,
  reseal: Reseal,
  extraSkipped: readonly string[] = [],
): Promise<{ readonly relations: readonly Relation[]; readonly staged: readonly StagedRelation[] }> {
  await assertSameKey(client, rotation, transition.to);
  const begun = await readBegun(client, rotation);
  const skipped = extraSkipped.filter((table) => !begun.tables.includes(table));
  const relations =
    transition.known.length === 0
      ? []
      : await lockSearched(client, connections, skipped, (all) => begun.searched(all));
  const keyless = relations.filter(({ key }) => key === undefined);
  await refuseKeyless(client, keyless, reseal);
  return { relations, staged: await registerRelations(client, rotation, transition, relations) };
}
