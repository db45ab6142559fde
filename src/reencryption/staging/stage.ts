import type { ClientBase } from 'pg';
import type { Fence, ReportProgress } from '../../rotation/fence.ts';
import { readBegun } from '../journal/begun-relations.ts';
import { assertSameKey } from '../journal/canary.ts';
import { journalSchema } from '../journal/journal.ts';
import { holdLease } from '../journal/lease.ts';
import { readMarker } from '../journal/marker.ts';
import { readTotals, registerRelations, type StagedRelation } from '../journal/staged-relation.ts';
import { startYielding } from '../pacing/yielding.ts';
import type { Transition } from '../port.ts';
import { readCatalog } from '../postgres/catalog.ts';
import { inTransaction, type Connections } from '../postgres/connection.ts';
import { createRelationReader } from '../postgres/relation-reader.ts';
import { defaultPage } from '../postgres/scan.ts';
import { createReseal } from '../values/reseal.ts';
import { catchUp } from './catch-up.ts';
import { lookAtUnfinished } from './first-look.ts';
import { refuseKeyless } from './keyless.ts';
import { createStagingWriter } from './staging-writer.ts';

export interface StageOptions {
  /** The role that LiteLLM's proxies connect as. @default the owner of its tables */
  readonly proxyRole?: string;
  /** Rows a batch. @default 250: more are hardly faster, and hold more memory */
  readonly batchSize?: number;
  /** The highest mean rate of writing. @default no limit */
  readonly throttleValuesPerSecond?: number;
  /** Whether to wait between batches while others are at work, or Postgres is slower than it was. @default true */
  readonly backOff?: boolean;
  /** Tables that are not searched, besides request logs and usage counters. */
  readonly extraSkippedTables?: readonly string[];
}

/**
 * Computes every new ciphertext beside the old one, in the journal; LiteLLM's tables are only read, in
 * short snapshots. An attempt continues where the last one stopped: finished tables are not read again, and rows that are
 * staged are not opened again. Then it catches up with what LiteLLM has written in the meantime; on a journal that is
 * complete it does only that. What changes from there on is the swap's to find. Swapped already: what is staged is the way
 * back, and stays.
 */
export async function stage(
  connections: Connections,
  transition: Transition,
  fence: Fence,
  progress: ReportProgress,
  signal: AbortSignal,
  options: StageOptions = {},
): Promise<{ readonly values: number; readonly rows: number }> {
  if (transition.known.length === 0) return { values: 0, rows: 0 };
  const lend = <T>(use: (client: ClientBase) => Promise<T>): Promise<T> =>
    connections.session('staging the new values', use);
  const staged = await lend((first) =>
    lend((second) =>
      lend(async (writer) => {
        const { side, report } = await inTransaction(writer, 'write', async () => {
          await holdLease(writer, fence);
          return readMarker(writer, fence.rotation);
        });
        if (side === 'pending' && report !== null) return { values: report.values, rows: report.rows };

        const readers = [createRelationReader(first), createRelationReader(second)] as const;
        const begun = await readBegun(writer, fence.rotation);
        const found = begun.searched(
          await readCatalog(writer, connections.schema, options.extraSkippedTables ?? []),
        );
        const register = (): Promise<readonly StagedRelation[]> =>
          inTransaction(writer, 'write', async () => {
            await holdLease(writer, fence);
            await assertSameKey(writer, fence.rotation, transition.to);
            return registerRelations(writer, fence.rotation, transition, found);
          });
        const relations = await register();
        const reseal = createReseal(transition.known, transition.to);
        const keyless = found.filter(({ key }) => key === undefined);
        await refuseKeyless(first, keyless, reseal, () => readers[0].next());

        const failed = new AbortController();
        const stop = AbortSignal.any([signal, failed.signal]);
        const yielding =
          options.backOff === false ? undefined : await startYielding(writer, [first, second, writer], fence);
        const staging = createStagingWriter(writer, fence, {
          yielding,
          valuesPerSecond: options.throttleValuesPerSecond,
          signal: stop,
          progress,
          done: (await readTotals(writer, relations)).values,
        });
        const parts = { writer, staging, fence, reseal };
        const size = { ...defaultPage, rows: options.batchSize ?? defaultPage.rows };
        await lookAtUnfinished(relations, { ...parts, readers, size, failed, stop });
        await writer.query(`analyze ${journalSchema}.staged`);
        await catchUp(await register(), { ...parts, reader: readers[0] });
        return readTotals(writer, relations);
      }),
    ),
  );
  progress({ done: staged.values, total: staged.values });
  return staged;
}
