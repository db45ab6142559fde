import { setImmediate } from 'node:timers/promises';
import type pg from 'pg';
import { sealedCandidateMinLength, sealedCandidateParts } from '../../litellm/candidate.ts';
import { literal, quote, textOf, type Column, type Relation } from './catalog.ts';

/** Cells as texts, in the order of the select list; null where a cell holds no candidate. */
export type Row = readonly (string | null)[];

/** Stored compressed, 40 random bytes in base64 are still more than this many bytes. */
const smallestStored = 40;

/**
 * The cells of a relation that can hold a sealed value, as a query: the key's columns first (k1, k2, ...), then one
 * text a column (c1, c2, ...). Each cell becomes text once (`offset 0` keeps the planner from merging the levels).
 */
export function selectCandidates(relation: Relation, columns: readonly Column[], where = 'true'): string {
  const keys = (relation.key ?? []).map(({ name }, at) => `${textOf(name)} as k${at + 1}`);
  const texts = columns.map(
    ({ name }, at) =>
      `case when pg_column_size(a.${quote(name)}) >= ${smallestStored} then ${textOf(name)} end as c${at + 1}`,
  );
  const keyNames = keys.map((_, at) => `k${at + 1}`);
  const cells = columns.map(
    (column, at) => `case when ${isCandidate(`c${at + 1}`, column)} then c${at + 1} end as c${at + 1}`,
  );
  return `select * from (
    select ${[...keyNames, ...cells].join(', ')} from (
      select ${[...keys, ...texts].join(', ')} from ${relation.from} as a where ${where} offset 0
    ) as texts offset 0
  ) as cells where num_nonnulls(${columns.map((_, at) => `c${at + 1}`).join(', ')}) > 0`;
}

function isCandidate(cell: string, { type, shape }: Column): string {
  const long = `octet_length(${cell}) >= ${sealedCandidateMinLength}`;
  const { marker, run, runLength } = sealedCandidateParts;
  // In fewer than twice its length a run covers the middle, which a quote in there rules out at a third of the time.
  const middle = `substr(${cell}, length(${cell}) - ${runLength - 1}, greatest(0, ${2 * runLength} - length(${cell})))`;
  const couldRun =
    shape.content === 'json'
      ? `(octet_length(${cell}) >= ${2 * runLength} or position('"' in ${middle}) = 0) and `
      : '';
  const found = `(${cell} like ${literal(`%${marker}%`)} or ${couldRun}${cell} ~ ${literal(run)})`;
  // Digests in hex, as LiteLLM keeps of every virtual key, are told apart at a tenth of the time; no ciphertext is one.
  if (shape.content === 'text') return `${long} and ${cell} ~ '[^0-9a-f]' and ${found}`;
  // json keeps its writer's escapes, which can hide letters of a value from the expression; jsonb spells them plainly.
  return type.startsWith('jsonb')
    ? `${long} and ${found}`
    : `${long} and (${found} or position('\\' in ${cell}) > 0)`;
}

/**
 * The relations that hold any row, found in one round trip: most of LiteLLM's sixty tables are empty. `where`: a condition
 * on the row, `a`.
 */
export async function withRows<T extends Pick<Relation, 'from'>>(
  client: pg.ClientBase,
  relations: readonly T[],
  where: (relation: T) => string = () => 'true',
): Promise<readonly T[]> {
  if (relations.length === 0) return [];
  const looks = relations.map(
    (relation, at) =>
      `select ${at} as at where exists (select 1 from ${relation.from} as a where ${where(relation)})`,
  );
  const { rows } = await client.query<{ at: number }>(looks.join(' union all '));
  return rows.map(({ at }) => relations[at] as T);
}

/** Rows a page, and the bytes a page should not exceed by much. */
export interface PageSize {
  readonly rows: number;
  readonly bytes: number;
}

/**
 * More bytes are no faster, and cost memory: what lives of a page while V8 collects its young generation makes it double
 * that generation's space, up to 100 MiB that it does not give back.
 */
export const defaultPage: PageSize = { rows: 250, bytes: 128 * 1024 };

/** What the catalog says of a relation, by which a read begins, may be old. */
const firstRows = 100;

/**
 * Reads a query of a relation page by page through a server-side cursor, or several, one after the other; the next page is
 * under way while the caller works on this one. Must run within a transaction, which closes the last cursor: to do it here
 * would cost each table a round trip. `prologue` is sent in the same round trip, before the first cursor is declared.
 */
export async function* pages(
  client: pg.ClientBase,
  relation: Pick<Relation, 'bytes' | 'estimatedRows'>,
  query: string | Iterable<string>,
  { size = defaultPage, prologue = '' }: { size?: PageSize; prologue?: string } = {},
): AsyncGenerator<readonly Row[]> {
  const name = `scan_${(cursors += 1)}`;
  const queries = (typeof query === 'string' ? [query] : query)[Symbol.iterator]();
  let asked = Math.min(fitting(size, relation.estimatedRows, relation.bytes), firstRows);
  const fetch = (): string => `fetch ${asked} from ${name}`;
  const nextCursor = (): string | undefined => {
    const next = queries.next();
    return next.done === true ? undefined : `declare ${name} no scroll cursor for ${next.value}; ${fetch()}`;
  };
  let pending = fetchRows(client, `${prologue}${nextCursor()}`);
  for (;;) {
    const rows = await pending;
    const ended = rows.length < asked;
    asked = nextSize(rows, size);
    const cursor = ended ? nextCursor() : undefined;
    if (ended && cursor === undefined) {
      if (rows.length > 0) yield rows;
      return;
    }
    pending = fetchRows(client, cursor === undefined ? fetch() : `close ${name}; ${cursor}`);
    pending.catch(() => undefined); // when the caller stops early, its own error is the one that counts
    // node-postgres writes to the socket only when the event loop turns: without this nothing overlaps.
    await setImmediate();
    if (rows.length > 0) yield rows;
  }
}

let cursors = 0;

async function fetchRows(client: pg.ClientBase, text: string): Promise<Row[]> {
  const answer: unknown = await client.query({ text, rowMode: 'array' });
  const last = Array.isArray(answer)
    ? (answer as pg.QueryArrayResult[]).at(-1)
    : (answer as pg.QueryArrayResult);
  return last?.rows ?? [];
}

/** As many rows as keep the next page within its bytes, judged by this one: a page of large documents stays small. */
function nextSize(rows: readonly Row[], size: PageSize): number {
  let bytes = 0;
  for (const row of rows) for (const cell of row) bytes += cell?.length ?? 0;
  return fitting(size, rows.length, bytes);
}

/** Rows of which that many have so many bytes. */
function fitting(size: PageSize, rows: number, bytes: number): number {
  return Math.max(1, Math.min(size.rows, Math.floor((size.bytes * rows) / Math.max(bytes, 1))));
}
