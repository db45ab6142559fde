import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { Fence, ReportProgress } from '../../rotation/fence.ts';
import { plantGuard } from '../journal/guard.ts';
import { holdLease } from '../journal/lease.ts';
import { markRestored, readMarker } from '../journal/marker.ts';
import type { RestoreReport, Transition } from '../port.ts';
import type { Connections } from '../postgres/connection.ts';
import type { StageOptions } from '../staging/stage.ts';
import { createReseal } from '../values/reseal.ts';
import { carryOver, markDone } from './carry-over.ts';
import { closingSearch } from './closing-search.ts';
import { lockRelations } from './locked-relations.ts';
import { restoreTokenRow } from './master-token.ts';

/**
 * Back to the previous key in one transaction. Each cell that is as the swap left it becomes what it was, byte for
 * byte; in a cell that changed since, so do its values that did not, and the rest is sealed with the previous key. Rows
 * that were deleted since stay deleted. Not swapped, or restored already: does nothing, unless it is to `search`. A standby
 * that took over without the swap is under the previous key, and LiteLLM, on the pending one, has stored in it.
 */
export function restore(
  connections: Connections,
  transition: Transition,
  fence: Fence,
  progress: ReportProgress,
  options: StageOptions & { readonly search?: boolean | undefined } = {},
): Promise<RestoreReport> {
  return connections.transaction('restoring the values', 'write', async (client) => {
    await holdLease(client, fence);
    const marker = await readMarker(client, fence.rotation);
    if (marker.side === 'previous' && options.search !== true) return { rows: 0, resealedValues: 0 };
    if (marker.side === 'pending' && marker.dropped) throw noWayBack(fence.rotation);

    const from = transition.from ?? transition.known[0] ?? transition.to;
    // Where the sealing key is not rotated, values written since are as the previous generation reads them.
    const reseal = from.key.equals(transition.to.key) ? () => undefined : createReseal([transition.to], from);
    const { relations, staged } = await lockRelations(
      client,
      connections,
      transition,
      fence,
      reseal,
      options.extraSkippedTables,
    );
    // The master key's row may be a staged row, which is known by the name that it had before.
    await restoreTokenRow(client, connections.schema, fence.rotation);
    const carried = await carryOver(
      client,
      fence,
      staged,
      {
        source: 'after',
        target: 'before',
        reseal,
        // In a table that is not the one that was swapped, the swap may have written what it did not stage for it.
        horizon: ({ done }) => (done ? marker.swapHorizon : null),
        except: ({ done }) => (done ? marker.swapXid : null),
      },
      progress,
    );
    // A search looks for values under the pending key alone: what stage has still to look at, it has.
    if (marker.side === 'pending') await markDone(client, staged);
    // Values may go back to several keys: only that none is left under the one that goes is known.
    if (!from.key.equals(transition.to.key)) {
      await closingSearch(client, relations, {
        reached: from,
        leaving: [transition.to],
        values: carried.values,
        expected: 0,
      });
    }
    await plantGuard(client, connections.schema, options.proxyRole, from);
    await markRestored(client, fence.rotation);
    return { rows: carried.rows, resealedValues: carried.resealed };
  });
}

function noWayBack(rotation: string): RotationError {
  return new RotationError(
    failureTypes.refused,
    `rotation ${rotation} is finished and its before-images are destroyed; to leave the new key, rotate again`,
    { facts: { rotation } },
  );
}
