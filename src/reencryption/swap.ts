import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { Fence, ReportProgress } from '../rotation/fence.ts';
import type { Secret } from '../rotation/secret.ts';
import { assertSameKey } from './canary.ts';
import { carryOver } from './carry-over.ts';
import { readCatalog, searched, type Relation } from './catalog.ts';
import type { Connections } from './connection.ts';
import { countSealed } from './count.ts';
import { holdLease } from './lease.ts';
import { markSwapped, readMarker } from './marker.ts';
import { moveTokenRow } from './master-token.ts';
import type { SwapReport, Transition } from './port.ts';
import { createReseal } from './reseal.ts';
import { refuseKeyless, type StageOptions } from './stage.ts';
import { registerRelations } from './staged-relation.ts';
import { lockTables } from './table-locks.ts';

/** Up to here, opening every value once more inside the transaction costs less than half a second. */
const smallEnough = { rows: 200_000, bytes: 256 * 1024 * 1024, values: 20_000 };

/**
 * The cutover of the database, in one transaction: everything or nothing. Behind locks that keep writers out, rows that
 * changed since stage are sealed again; every staged cell that is still as it was read is set; the master key's row
 * moves; the marker moves. Done already: returns the report of the first time.
 *
 * What proves it whole, before the commit: each staged row is, byte for byte, the text whose opening with the new key
 * was compared when it was staged; and every row that was not staged is either older than its look (by transaction
 * id), or was looked at again. Small databases are also searched from end to end once more.
 */
export function swap(
  connections: Connections,
  transition: Transition,
  masterKey: { readonly from: Secret; readonly to: Secret },
  fence: Fence,
  progress: ReportProgress,
  options: StageOptions = {},
): Promise<SwapReport> {
  return connections.transaction('swapping the values', 'write', async (client) => {
    await holdLease(client, fence);
    const marker = await readMarker(client, fence.rotation);
    if (marker.side === 'pending' && marker.report !== null) return marker.report;

    await assertSameKey(client, fence.rotation, transition.to);
    const relations =
      transition.known.length === 0
        ? []
        : searched(await readCatalog(client, connections.schema, options.extraSkippedTables ?? []));
    await lockTables(
      client,
      connections,
      relations.map(({ name }) => name),
    );
    const reseal = createReseal(transition.known, transition.to);
    await refuseKeyless(
      client,
      relations.filter(({ key }) => key === undefined),
      reseal,
    );
    const staged = await registerRelations(client, fence.rotation, transition, relations);
    const carried = await carryOver(
      client,
      fence,
      staged,
      { source: 'before', target: 'after', reseal, horizon: ({ horizon }) => horizon, except: null },
      progress,
    );
    if (isSmall(relations, carried.values)) {
      const counted = await countSealed(client, relations, transition.to, transition.known);
      if (counted.underOthers > 0 || counted.underExpected < carried.values)
        throw notWhole(counted, carried.values);
    }
    const tokenRow = await moveTokenRow(client, connections.schema, fence.rotation, masterKey);
    const report = { values: carried.values, rows: carried.rows, lateValues: carried.resealed, tokenRow };
    await markSwapped(client, fence.rotation, report);
    return report;
  });
}

function isSmall(relations: readonly Relation[], values: number): boolean {
  const rows = relations.reduce((sum, { estimatedRows }) => sum + estimatedRows, 0);
  const bytes = relations.reduce((sum, relation) => sum + relation.bytes, 0);
  return values <= smallEnough.values && rows <= smallEnough.rows && bytes <= smallEnough.bytes;
}

function notWhole(counted: { underExpected: number; underOthers: number }, expected: number): RotationError {
  return new RotationError(
    failureTypes.countMismatch,
    `after the swap, ${counted.underExpected} values open with the new key and ${counted.underOthers} with a previous one; expected ${expected} and 0; nothing was changed; look for triggers that write sealed values, or report this as a bug`,
    { facts: { ...counted, expected } },
  );
}
