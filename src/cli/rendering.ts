import { styleText } from 'node:util';
import type { Finding } from '../rotation/finding.ts';
import type { SealedRow } from '../rotation/inventory.ts';
import type { Plan } from '../rotation/plan.ts';
import type { PlannedValues } from '../rotation/plan-parts.ts';
import type { Step } from '../rotation/status.ts';

type Style = Parameters<typeof styleText>[0];
/** A terminal may show one of both streams, and a file take the other. */
type Stream = NodeJS.WriteStream;
const style = (format: Style, text: string, stream: Stream = process.stdout) =>
  styleText(format, text, { stream });

export const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

/** A finished step as one line. */
export function renderStep({ title, state, result, startedAt, endedAt }: Step, stream?: Stream): string {
  const mark = state === 'failed' ? style('red', '✗', stream) : style('green', '✓', stream);
  const time = endedAt === null ? '' : style('dim', ` (${seconds(endedAt - startedAt)})`, stream);
  return `  ${mark} ${title}${result === '' ? '' : style('cyan', `: ${result}`, stream)}${time}`;
}

export function renderPhase(phase: string, stream?: Stream): string {
  return style('bold', phase, stream);
}

/** A step that is tried again after a failure. */
export interface Retry {
  readonly title: string;
  /** The one that runs, or is about to. */
  readonly attempt: number;
  readonly failure: string;
}

export function renderRetry({ title, attempt, failure }: Retry, stream?: Stream): string {
  return `  ${style('yellow', '!', stream)} ${title}: failed, attempt ${attempt} follows: ${failure}`;
}

/** The end of a text, as much as a line of a terminal holds: it says how far a step is. */
export function fit(text: string, columns: number): string {
  return text.length < columns ? text : `…${text.slice(text.length - columns + 2)}`;
}

const marks: Record<Finding['severity'], [string, Style]> = {
  blocking: ['✗', 'red'],
  warning: ['!', 'yellow'],
  note: ['i', 'blue'],
};

export function renderFinding({ severity, where, found, expected, next }: Finding): string {
  const [mark, color] = marks[severity];
  return [
    `  ${style(color, mark)} ${where}`,
    `      found ${found}`,
    `      expected ${expected}`,
    `      next: ${next}`,
  ].join('\n');
}

/** The plan for a terminal; counts and fingerprints only. */
export function renderPlan(plan: Plan): string {
  const { rotationCase, secrets, service, proxy, database, rehearsal, outage, maxOutageSeconds } = plan;
  const rows = database.lines.map((line) => [placeOf(line), ...kindOf(line)]);
  const salt = secrets.current.salt === null ? 'none' : secrets.current.salt;
  return [
    `${style('bold', `plan for ${plan.target}`)}: ${rotationCase.sentence}`,
    `  current keys   master ${secrets.current.master}, salt ${salt} (fingerprints)`,
    `  secret files   ${secrets.description}`,
    ...secrets.places.map(({ where, name, action }) => `                 ${action} ${name} in ${where}`),
    `  service        ${service.description}: ${service.detail}`,
    `  proxy          ${proxy.urls.join(', ')}: ${proxy.models} models`,
    `  database       ${database.description}: ${database.values} sealed values in ${database.rows} rows and ${database.columns} columns; master key's token row: ${database.tokenRow}`,
    ...table(rows).map((row) => `                 ${row}`),
    ...renderSkipped(database.skipped).map((row) => `                 ${row}`),
    `  outage         about ${outage.seconds} s${maxOutageSeconds === null ? '' : ` of ${maxOutageSeconds} s allowed`}: ${outage.basis}`,
    // A plan of an earlier release has none.
    ...(rehearsal ? [`  rehearsal      before the outage: ${rehearsal.description}`] : []),
    ...(plan.findings.length === 0
      ? []
      : ['  findings', ...plan.findings.map((finding) => renderFinding(finding))]),
    ...(plan.blocked
      ? [`${style('red', 'refused')}: what is marked ✗ is to be mended first; nothing was changed`]
      : []),
  ].join('\n');
}

export const placeOf = ({ table: name, column }: Pick<PlannedValues, 'table' | 'column'>): string =>
  `${name}.${column}`;

/** How many, and what they are: the cells of a table's row. */
export function kindOf({ values, marker, format, key, remark }: PlannedValues): string[] {
  return [`${values}`, `${marker}${format}`, key ?? 'no known key', remark];
}

/** What was not searched, as lines. */
export function renderSkipped(skipped: Plan['database']['skipped']): string[] {
  const filled = skipped.filter(({ rows }) => rows > 0);
  const empty = skipped.length - filled.length;
  return [
    ...filled.map(({ table: name, why, rows }) => `skipped ${name} (about ${rows} rows): ${why}`),
    ...(empty === 0 ? [] : [`skipped ${empty} empty request logs and usage counters`]),
  ];
}

/** Rows that hold sealed values, as far as they are listed. */
export function renderRows(listed: readonly SealedRow[], unlisted: number): string[] {
  const cells = listed.map((line) => [
    placeOf(line),
    line.row === '' ? '(no primary key)' : line.row,
    ...kindOf(line),
  ]);
  return [
    ...(cells.length === 0 ? [] : ['rows', ...table(cells).map((line) => `  ${line}`)]),
    ...(unlisted === 0 ? [] : [`  and ${unlisted} more`]),
  ];
}

/** Columns of even width; the last is left ragged. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
