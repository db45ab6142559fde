import { createHash } from 'node:crypto';
import type { ReportProgress } from '../../rotation/fence.ts';
import type { ReencryptedValues } from '../../rotation/reencryption.ts';
import type { Improvement, ImprovementSurvey, RotationDatabase } from '../port.ts';
import { readCatalog, type Relation } from '../postgres/catalog.ts';
import type { Connections } from '../postgres/connection.ts';
import { pages, selectCandidates, withRows } from '../postgres/scan.ts';
import { visitCells } from '../postgres/row-cells.ts';
import { createImprover, type Judged, type Verdict } from './improver.ts';

type Visit = Parameters<RotationDatabase['surveyImprovement']>[3];

/** Judges every sealed value of the searched tables, in one snapshot. Reads only. */
export function surveyImprovement(
  connections: Connections,
  asked: Improvement,
  progress: ReportProgress,
  signal: AbortSignal,
  extraSkippedTables: readonly string[] = [],
  visit?: Visit,
): Promise<ImprovementSurvey> {
  return connections.survey('looking for values to re-encrypt', signal, async (client) => {
    const improver = createImprover(asked);
    const tally = createTally(visit);
    const catalog = await readCatalog(client, connections.schema, extraSkippedTables);
    const searched = catalog.filter(({ skipped, columns }) => skipped === undefined && columns.length > 0);
    for (const relation of await withRows(client, searched)) {
      const names = relation.key ?? [];
      for await (const page of pages(client, relation, selectCandidates(relation, relation.columns))) {
        for (const row of page) {
          const key = names.map(({ name }, at) => ({ name, value: row[at] ?? '' }));
          visitCells(relation, row, (text, column) => {
            const judged = improver.judge(text);
            if (judged !== undefined) tally.count(relation, column, judged, key, text);
          });
        }
        progress({ done: tally.seen, note: relation.name });
      }
    }
    return tally.survey;
  });
}

const reasons = {
  'sealed twice': 'sealedTwice',
  'under another key': 'underOtherKeys',
  unreadable: 'unreadable',
  id: 'ids',
} as const satisfies Partial<Record<Verdict, string>>;

function createTally(visit: Visit) {
  const lines = new Map<string, ReencryptedValues>();
  const formats = { legacy: 0, v2: 0, v3: 0 };
  const leftAlone = { sealedTwice: 0, underOtherKeys: 0, unreadable: 0, ids: 0, withoutKey: 0 };
  let seen = 0;
  let values = 0;
  // Digests are added up, so that neither their order nor a list of them matters.
  let repairs = 0n;

  return {
    get seen() {
      return seen;
    },
    get survey(): ImprovementSurvey {
      const sorted = [...lines.values()].sort((a, b) => order(a).localeCompare(order(b), 'en'));
      const digest = createHash('sha256').update(repairs.toString(16)).digest('hex');
      return { lines: sorted, values, formats, leftAlone, repairs: digest };
    },
    count(
      { name: table, key: relationKey }: Relation,
      { name: column, fixed }: Relation['columns'][number],
      { verdict, format, marker, layers, becomes }: Judged,
      key: readonly { readonly name: string; readonly value: string }[],
      text: string,
    ): void {
      seen += 1;
      if (fixed) {
        leftAlone.ids += 1;
        return;
      }
      if (verdict === 'as wanted' || verdict === 'upgrade') formats[format] += 1;
      if (verdict === 'as wanted') return;
      if (verdict !== 'upgrade' && verdict !== 'repair') {
        leftAlone[reasons[verdict]] += 1;
        return;
      }
      if (relationKey === undefined) {
        leftAlone.withoutKey += 1;
        return;
      }
      values += 1;
      const line = { table, column, verdict, layers, format, becomes: becomes.format, marker, values: 1 };
      visit?.(line, key);
      const id = JSON.stringify(line);
      lines.set(id, { ...line, values: (lines.get(id)?.values ?? 0) + 1 });
      if (verdict === 'repair') repairs = (repairs + digestOf([table, column, key, text])) % 2n ** 256n;
    },
  };
}

const digestOf = (place: unknown): bigint =>
  BigInt(`0x${createHash('sha256').update(JSON.stringify(place)).digest('hex')}`);

const order = ({ table, column, verdict, layers, format }: ReencryptedValues): string =>
  [table, column, verdict, layers.join(), format].join('\t');
