import { setTimeout } from 'node:timers/promises';
import type { Fence, ReportProgress } from '../../rotation/fence.ts';
import { createThrottle } from '../pacing/throttle.ts';
import { startYielding } from '../pacing/yielding.ts';
import type { Improvement, ImprovementReport } from '../port.ts';
import { readCatalog, searched, type Relation } from '../postgres/catalog.ts';
import type { Connections } from '../postgres/connection.ts';
import { defaultPage, pages, type Row, selectCandidates, withRows } from '../postgres/scan.ts';
import { replaceCells } from '../postgres/row-cells.ts';
import { createSnapshots } from '../postgres/snapshots.ts';
import type { StageOptions } from '../staging/stage.ts';
import { type ImprovedRow, type KeyedRelation, writeImprovedRows } from './improved-rows.ts';
import { createImprover, type Improver } from './improver.ts';

/** Rows a transaction: LiteLLM may wait for as long as it holds them. */
const defaultBatch = 50;
const passes = 5;
/** Before the second pass, and twice, three times, ... as long before those after it. */
const restMs = 500;

/**
 * Seals values anew where they stand. What is done shows on the value itself, so an attempt, or a pass, goes on with what
 * is left by looking. The reader's snapshot may be old: what it read is compared when it is written.
 */
export async function improve(
  connections: Connections,
  asked: Improvement,
  fence: Fence,
  progress: ReportProgress,
  signal: AbortSignal,
  options: StageOptions = {},
): Promise<ImprovementReport> {
  const doing = 're-encrypting values in place';
  const improver = createImprover(asked);
  const throttle = createThrottle(options.throttleValuesPerSecond);
  const size = { ...defaultPage, rows: options.batchSize ?? defaultBatch };
  const report = { upgraded: 0, repaired: 0, rows: 0, passes: 0, missed: 0 };
  await fence.assert();
  await connections.session(doing, (client) =>
    connections.session(doing, async (writer) => {
      const reader = createSnapshots(client);
      const yielding =
        options.backOff === false ? undefined : await startYielding(writer, [client, writer], fence);
      const catalog = await readCatalog(client, connections.schema, options.extraSkippedTables ?? []);
      const keyed = searched(catalog).filter(isKeyed);

      const improveRelation = async (relation: KeyedRelation): Promise<void> => {
        const query = selectCandidates(relation, relation.columns);
        for await (const page of pages(client, query, { size, prologue: reader.next() })) {
          signal.throwIfAborted();
          const batch: ImprovedRow[] = [];
          for (const row of page) {
            const improved = improveRow(relation, row, improver);
            if (improved !== undefined) batch.push(improved);
          }
          if (batch.length === 0) continue;
          await yielding?.wait(signal);
          const written = await writeImprovedRows(writer, fence, relation, batch);
          report.missed += batch.length - written.length;
          report.rows += written.length;
          let values = 0;
          for (const { upgraded, repaired } of written) {
            report.upgraded += upgraded;
            report.repaired += repaired;
            values += upgraded + repaired;
          }
          progress({
            done: report.upgraded + report.repaired,
            note: relation.name,
            waitedMs: yielding?.waitedMs ?? 0,
          });
          await throttle.after(values, signal);
        }
      };

      do {
        if (report.passes > 0) await setTimeout(report.passes * restMs, undefined, { signal });
        report.passes += 1;
        report.missed = 0;
        for (const relation of await withRows(writer, keyed)) await improveRelation(relation);
      } while (report.missed > 0 && report.passes < passes);
      await reader.end();
    }),
  );
  return report;
}

const isKeyed = (relation: Relation): relation is KeyedRelation => relation.key !== undefined;

function improveRow(relation: KeyedRelation, row: Row, improver: Improver): ImprovedRow | undefined {
  const counts = { upgrade: 0, repair: 0 };
  const replaced = replaceCells(relation, row, (text) => {
    const improved = improver.improve(text);
    if (improved !== undefined) counts[improved.verdict] += 1;
    return improved?.text;
  });
  if (replaced === undefined) return undefined;
  const { upgrade: upgraded, repair: repaired } = counts;
  return { key: row.slice(0, relation.key.length) as string[], ...replaced, upgraded, repaired };
}
