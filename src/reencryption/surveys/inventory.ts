import type pg from 'pg';
import type { ReportProgress } from '../../rotation/fence.ts';
import type { Finding } from '../../rotation/finding.ts';
import type { NamedKey } from '../../rotation/keys.ts';
import type { Secret } from '../../rotation/secret.ts';
import type { Inventory, InventoryLine, VisitValue } from '../port.ts';
import { quote, readCatalog, textOf, type Relation } from '../postgres/catalog.ts';
import type { Connections } from '../postgres/connection.ts';
import { pages, selectCandidates, withRows, type Row } from '../postgres/scan.ts';
import { visitCells } from '../postgres/row-cells.ts';
import { createClassifier, type Classified } from '../values/classify.ts';
import { judgeReplicaIdentity } from './replica-identity.ts';
import { findTokenRow } from './token-row.ts';

/** A request log up to this size is searched for ids that clients hold; a larger one would hold preflight up. */
const cheapLogBytes = 256 * 1024 * 1024;

/** Classifies every sealed value of the database, in one snapshot. Reads only. */
export function inventory(
  connections: Connections,
  known: readonly NamedKey[],
  masterKey: Secret,
  progress: ReportProgress,
  signal: AbortSignal,
  extraSkippedTables: readonly string[] = [],
  visit?: VisitValue,
): Promise<Inventory> {
  return connections.survey('classifying the sealed values', signal, async (client) => {
    const beganAt = performance.now();
    const classify = createClassifier(known);
    const catalog = await readCatalog(client, connections.schema, extraSkippedTables);
    const lines = new Map<string, InventoryLine>();
    const keyless: string[] = [];
    let rows = 0;
    let values = 0;

    const searched = catalog.filter(({ skipped }) => skipped === undefined);
    for (const relation of await withRows(client, searched)) {
      for await (const page of pages(client, relation, selectAll(relation))) {
        for (const row of page) {
          const names = relation.key ?? [];
          const carried = classifyRow(relation, row, classify, (line) => {
            visit?.(
              line,
              names.map(({ name }, at) => ({ name, value: row[at] ?? '' })),
            );
            countLine(lines, line);
          });
          values += carried;
          if (carried === 0) continue;
          rows += 1;
          if (relation.key === undefined && keyless.at(-1) !== relation.name) keyless.push(relation.name);
        }
        progress({ done: values, note: relation.name });
      }
    }
    const skipped = catalog.filter((relation) => relation.skipped !== undefined);
    for (const relation of skipped) await countClientIds(client, relation, classify, lines);

    const sorted = [...lines.values()].sort((a, b) => order(a).localeCompare(order(b), 'en'));
    const carriedOver = sorted.filter(isCarriedOver);
    const tables = [...new Set(carriedOver.map(({ table }) => table))];
    const columns = new Set(carriedOver.map(({ table, column }) => `${table}.${column}`));
    return {
      lines: sorted,
      values,
      rows,
      columns: columns.size,
      seconds: Math.round(performance.now() - beganAt) / 1000,
      skipped: skipped.map(({ name, skipped: why, estimatedRows }) => ({
        table: name,
        why: why ?? '',
        rows: estimatedRows,
      })),
      tokenRow: await findTokenRow(client, connections.schema, masterKey),
      findings: [
        ...keyless.map(withoutKey),
        ...(await judgeReplicaIdentity(client, connections.schema, tables)),
      ],
    };
  });
}

function selectAll(relation: Relation): string {
  return relation.columns.length === 0
    ? 'select null where false'
    : selectCandidates(relation, relation.columns);
}

/** Passes each of the row's values to `found`, and returns how many of them a rotation re-encrypts. */
function classifyRow(
  relation: Relation,
  row: Row,
  classify: (text: string) => Classified | undefined,
  found: (line: InventoryLine) => void,
): number {
  let carried = 0;
  visitCells(relation, row, (text, { name, fixed }) => {
    const classified = classify(text);
    if (classified === undefined) return;
    const line = lineOf(relation.name, name, classified, fixed);
    found(line);
    if (isCarriedOver(line)) carried += 1;
  });
  return carried;
}

/** The line of one value. */
function lineOf(
  table: string,
  column: string,
  { format, marker, layers }: Classified,
  fixed: boolean,
): InventoryLine {
  return {
    table,
    column,
    key: layers[0] ?? null,
    format,
    marker,
    remark: remarkOn(layers, marker, fixed),
    values: 1,
  };
}

function countLine(lines: Map<string, InventoryLine>, line: InventoryLine): void {
  const id = JSON.stringify(line);
  lines.set(id, { ...line, values: (lines.get(id)?.values ?? 0) + 1 });
}

function remarkOn(layers: readonly string[], marker: string, fixed: boolean): InventoryLine['remark'] {
  if (layers.length === 0) return 'unreadable';
  if (fixed || marker === 'resp_') return 'not carried over';
  return layers.length > 1 ? 'sealed twice' : '';
}

const isCarriedOver = ({ remark }: InventoryLine): boolean => remark === '' || remark === 'sealed twice';
const order = ({ table, column, key, format }: InventoryLine): string =>
  [table, column, key ?? '~', format].join('\t');

/** `resp_` ids in the request_id of a small request log: they end with the previous key, and the plan says how many. */
async function countClientIds(
  client: pg.ClientBase,
  relation: Relation,
  classify: (text: string) => Classified | undefined,
  lines: Map<string, InventoryLine>,
): Promise<void> {
  const column = relation.columns.find(({ name }) => name === 'request_id');
  if (column === undefined || relation.skipped === 'foreign table' || relation.heapBytes > cheapLogBytes)
    return;
  const ids = `select ${textOf(column.name)} from ${relation.from} as a where ${textOf(column.name)} like 'resp\\_%'`;
  for await (const page of pages(client, relation, ids)) {
    for (const row of page)
      classifyRow({ ...relation, key: undefined, columns: [column] }, row, classify, (line) =>
        countLine(lines, line),
      );
  }
}

function withoutKey(table: string): Finding {
  return {
    severity: 'blocking',
    code: 'table-without-key',
    where: `table ${table}`,
    found: 'sealed values, and neither a primary key nor a unique index without nulls',
    expected: 'a key by which a row can be found again',
    next: `add one: alter table ${quote(table)} add column id bigint generated always as identity primary key`,
  };
}
