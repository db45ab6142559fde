import type { Fence, ReportProgress } from '../rotation/fence.ts';
import { assertSameKey } from './canary.ts';
import { carryOver } from './carry-over.ts';
import { readCatalog, searched } from './catalog.ts';
import type { Connections } from './connection.ts';
import { holdLease } from './lease.ts';
import { markRestored, readMarker } from './marker.ts';
import { restoreTokenRow } from './master-token.ts';
import type { RestoreReport, Transition } from './port.ts';
import { createReseal } from './reseal.ts';
import type { StageOptions } from './stage.ts';
import { registerRelations } from './staged-relation.ts';
import { lockTables } from './table-locks.ts';

/**
 * Back to the previous key in one transaction. Each cell that is as the swap left it becomes what it was, byte for
 * byte; in a cell that changed since, so do its values that did not, and the rest is sealed with the previous key. Rows
 * that were deleted since stay deleted. Not swapped, or restored already: does nothing.
 */
export function restore(
  connections: Connections,
  transition: Transition,
  fence: Fence,
  progress: ReportProgress,
  options: StageOptions = {},
): Promise<RestoreReport> {
  return connections.transaction('restoring the values', 'write', async (client) => {
    await holdLease(client, fence);
    const marker = await readMarker(client, fence.rotation);
    if (marker.side === 'previous') return { rows: 0, resealedValues: 0 };

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
    const staged = await registerRelations(client, fence.rotation, transition, relations);
    // The master key's row may be a staged row, which is known by the name that it had before.
    await restoreTokenRow(client, connections.schema, fence.rotation);
    const from = transition.from ?? transition.known[0] ?? transition.to;
    const carried = await carryOver(
      client,
      fence,
      staged,
      {
        source: 'after',
        target: 'before',
        // Where the sealing key is not rotated, values written since are as the previous generation reads them.
        reseal: from.key.equals(transition.to.key) ? () => undefined : createReseal([transition.to], from),
        horizon: ({ done }) => (done ? marker.swapHorizon : null),
        except: marker.swapXid,
      },
      progress,
    );
    await markRestored(client, fence.rotation);
    return { rows: carried.rows, resealedValues: carried.resealed };
  });
}
