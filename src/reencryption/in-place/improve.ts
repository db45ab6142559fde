import { setTimeout } from 'node:timers/promises';
import type { Fence, ReportProgress } from '../../rotation/fence.ts';
import { createThrottle } from '../pacing/throttle.ts';
import { startYielding } from '../pacing/yielding.ts';
import type { Improvement, ImprovementReport } from '../port.ts';
import { readCatalog, searched, type Relation } from '../postgres/catalog.ts';
import type { Connections } from '../postgres/connection.ts';
import { blockRanges } from '../postgres/block-ranges.ts';
import { takeHorizon, writtenSince, type Horizon } from '../postgres/horizon.ts';
import { createRelationReader } from '../postgres/relation-reader.ts';
import { defaultPage, pages, type Row, selectCandidates, withRows } from '../postgres/scan.ts';
import { replaceCells } from '../postgres/row-cells.ts';
import type { StageOptions } from '../staging/stage.ts';
import { type ImprovedRow, type KeyedRelation, writeImprovedRows } from './improved-rows.ts';
import { createImprover, type Improver } from './improver.ts';

/** Rows a transaction: LiteLLM may wait for as long as it holds them. */
const defaultBatch = 50;
const mostPasses = 5;
/** After a first pass that missed rows, and twice, three times, ... as long after those that follow. */
const restMs = 500;

/**
 * Seals values anew where they stand. What is done shows on the value itself, so an attempt, or a pass, goes on with what
 * is left by looking. What was read may be old: it is compared when it is written.
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
      const reader = createRelationReader(client);
      const yielding =
        options.backOff === false ? undefined : await startYielding(writer, [client, writer], fence);
      const catalog = await readCatalog(client, connections.schema, options.extraSkippedTables ?? []);
      const keyed = searched(catalog).filter(isKeyed);

      let found = 0;
      const improveRelation = async (relation: KeyedRelation, since: Horizon | undefined): Promise<void> => {
        const queries = rangesOf(relation, since);
        for await (const page of pages(client, relation, queries, { size, prologue: reader.next() })) {
          signal.throwIfAborted();
          const batch: ImprovedRow[] = [];
          for (const row of page) {
            const improved = improveRow(relation, row, improver);
            if (improved !== undefined) batch.push(improved);
          }
          await yielding?.wait(signal);
          if (batch.length === 0) continue;
          found += batch.length;
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

      // A row that moves while its table is read may escape a pass. What was missed need not have been written since.
      let since: Horizon | undefined;
      do {
        if (report.missed > 0) await setTimeout(report.passes * restMs, undefined, { signal });
        const horizon = await takeHorizon(writer);
        report.passes += 1;
        report.missed = 0;
        found = 0;
        for (const relation of await withRows(writer, keyed)) await improveRelation(relation, since);
        since = report.missed > 0 ? undefined : horizon;
      } while (found > 0 && report.passes < mostPasses);
      await reader.end();
    }),
  );
  return report;
}

function* rangesOf(relation: KeyedRelation, since: Horizon | undefined): Generator<string> {
  const written = since === undefined ? '' : ` and ${writtenSince(since.xid)}`;
  for (const range of blockRanges(relation))
    yield selectCandidates(relation, relation.columns, range + written);
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
