import type pg from 'pg';
import type { ReportProgress } from '../../rotation/fence.ts';
import type { NamedKey } from '../../rotation/keys.ts';
import type { SealCount } from '../port.ts';
import { readCatalog, searched, type Relation } from '../postgres/catalog.ts';
import type { Connections } from '../postgres/connection.ts';
import { pages, selectCandidates, withRows } from '../postgres/scan.ts';
import { visitCells } from '../postgres/row-cells.ts';
import { createClassifier } from '../values/classify.ts';

/**
 * Opens every candidate. A value that is sealed more than once counts under `others` when any of its layers does: it
 * is not whole without that key. Ids that clients hold (`resp_`) do not count.
 */
export async function countSealed(
  client: pg.ClientBase,
  relations: readonly Relation[],
  expected: NamedKey,
  others: readonly NamedKey[],
  progress?: ReportProgress,
): Promise<SealCount> {
  const classify = createClassifier([
    { label: 'expected', key: expected.key },
    ...others.filter(({ key }) => !key.equals(expected.key)).map(({ key }) => ({ label: 'other', key })),
  ]);
  const count = { underExpected: 0, underOthers: 0, unreadable: 0 };
  const othersIn = new Set<string>();
  for (const relation of await withRows(client, relations)) {
    for await (const page of pages(client, relation, selectCandidates(relation, relation.columns))) {
      for (const row of page) {
        visitCells(relation, row, (text, { name }) => {
          const found = classify(text);
          if (found === undefined || found.marker === 'resp_') return;
          if (found.layers.length === 0) count.unreadable += 1;
          else if (found.layers.every((label) => label === 'expected')) count.underExpected += 1;
          else {
            count.underOthers += 1;
            othersIn.add(`${relation.name}.${name}`);
          }
        });
      }
      progress?.({ done: count.underExpected + count.underOthers, note: relation.name });
    }
  }
  return { ...count, othersIn: [...othersIn] };
}

/** Counts in one snapshot of the whole database. Reads only. */
export function count(
  connections: Connections,
  expected: NamedKey,
  others: readonly NamedKey[],
  progress: ReportProgress,
  signal: AbortSignal,
  extraSkippedTables: readonly string[] = [],
): Promise<SealCount> {
  return connections.survey('counting the sealed values', signal, async (client) =>
    countSealed(
      client,
      searched(await readCatalog(client, connections.schema, extraSkippedTables)),
      expected,
      others,
      progress,
    ),
  );
}
