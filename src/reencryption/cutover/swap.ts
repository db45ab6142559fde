import type { Fence, ReportProgress } from '../../rotation/fence.ts';
import type { Secret } from '../../rotation/secret.ts';
import { plantGuard } from '../journal/guard.ts';
import { holdLease } from '../journal/lease.ts';
import { markSwapped, readMarker } from '../journal/marker.ts';
import type { SwapReport, Transition } from '../port.ts';
import type { Connections } from '../postgres/connection.ts';
import type { StageOptions } from '../staging/stage.ts';
import { createReseal } from '../values/reseal.ts';
import { carryOver, markDone } from './carry-over.ts';
import { closingSearch } from './closing-search.ts';
import { lockRelations } from './locked-relations.ts';
import { moveTokenRow } from './master-token.ts';

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

    const reseal = createReseal(transition.known, transition.to);
    const { relations, staged } = await lockRelations(
      client,
      connections,
      transition,
      fence,
      reseal,
      options.extraSkippedTables,
    );
    const carried = await carryOver(
      client,
      fence,
      staged,
      { source: 'before', target: 'after', reseal, horizon: ({ horizon }) => horizon, except: () => null },
      progress,
    );
    await markDone(client, staged);
    await closingSearch(client, relations, {
      reached: transition.to,
      leaving: transition.known,
      values: carried.values,
    });
    const tokenRow = await moveTokenRow(client, connections.schema, fence.rotation, masterKey);
    const report = { values: carried.values, rows: carried.rows, lateValues: carried.resealed, tokenRow };
    await plantGuard(client, connections.schema, options.proxyRole, transition.to);
    await markSwapped(client, fence.rotation, report);
    return report;
  });
}
