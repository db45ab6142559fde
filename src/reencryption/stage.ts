import { setImmediate } from 'node:timers/promises';
import type pg from 'pg';
import type { Fence, ReportProgress } from '../rotation/fence.ts';
import { assertSameKey } from './canary.ts';
import { readCatalog, searched, type Relation } from './catalog.ts';
import type { Connections } from './connection.ts';
import { journalSchema } from './journal.ts';
import { holdLease } from './lease.ts';
import type { Transition } from './port.ts';
import { createReseal, type Reseal } from './reseal.ts';
import { resealRow } from './reseal-row.ts';
import { defaultPage, pages, selectCandidates, withRows, type PageSize } from './scan.ts';
import { keylessTables, registerRelations, type StagedRelation } from './staged-relation.ts';
import { finishRelations, writeStagedRows, type StagedRow } from './staged-rows.ts';
import { createThrottle } from './throttle.ts';
import { startYielding } from './yielding.ts';

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
 * Computes every new ciphertext beside the old one, in the journal; LiteLLM's tables are only read, each in a snapshot
 * of its own. An attempt continues where the last one stopped: finished tables are not read again, and rows that are
 * staged are not opened again. What changes from here on is the swap's to find.
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
  const doing = 'staging the new values';
  const { relations, keyless } = await connections.transaction(doing, 'write', async (client) => {
    await holdLease(client, fence);
    await assertSameKey(client, fence.rotation, transition.to);
    const found = searched(await readCatalog(client, connections.schema, options.extraSkippedTables ?? []));
    return {
      relations: await registerRelations(client, fence.rotation, transition, found),
      keyless: found.filter(({ key }) => key === undefined),
    };
  });

  const size: PageSize = { ...defaultPage, rows: options.batchSize ?? defaultPage.rows };
  const throttle = createThrottle(options.throttleValuesPerSecond);
  const reseal = createReseal(transition.known, transition.to);
  let rows = 0;
  let values = 0;
  for (const relation of relations) {
    rows += relation.rows;
    values += relation.sealed;
  }

  await connections.session(doing, (first) =>
    connections.session(doing, (second) =>
      connections.session(doing, async (writer) => {
        const yielding =
          options.backOff === false ? undefined : await startYielding(writer, [first, second, writer], fence);
        await refuseKeyless(first, keyless, reseal, snapshot);
        const failed = new AbortController();
        const stop = AbortSignal.any([signal, failed.signal]);
        const unfinished = relations.filter(({ done }) => !done);
        // What is written to an empty one from here on is younger than its horizon: the swap looks at it.
        const occupied = await withRows(writer, unfinished);
        const empty = unfinished.filter((relation) => !occupied.includes(relation));

        const write = async (relation: StagedRelation, batch: readonly StagedRow[]): Promise<void> => {
          const written = await writeStagedRows(writer, fence, relation, batch);
          rows += written.rows;
          values += written.values;
          progress({ done: values, note: relation.name, waitedMs: yielding?.waitedMs ?? 0 });
        };
        let before: Promise<void> = Promise.resolve();
        /** Begins a write once the one before has ended and LiteLLM does not mind; the caller reads on meanwhile. */
        const begin = (relation: StagedRelation, batch: readonly StagedRow[]) => {
          const begun = before.then(async () => {
            await yielding?.wait(stop);
            const written = write(relation, batch);
            written.catch(() => undefined); // awaited by the write after it, and at the relation's end
            return { written };
          });
          before = begun.then(({ written }) => written);
          before.catch(() => undefined);
          return begun;
        };

        const stageRelation = async (reader: pg.ClientBase, relation: StagedRelation): Promise<void> => {
          let last: Promise<void> | undefined;
          for await (const page of pages(reader, notYetStaged(relation), { size, prologue: snapshot })) {
            const batch: StagedRow[] = [];
            for (const row of page) {
              const staged = resealRow(relation, row, reseal);
              if (staged !== undefined) batch.push(staged);
            }
            stop.throwIfAborted();
            if (batch.length === 0) continue;
            ({ written: last } = await begin(relation, batch));
            await setImmediate();
            await throttle.after(
              batch.reduce((sum, { sealed }) => sum + sealed, 0),
              stop,
            );
          }
          await last;
          empty.push(relation);
          // A relation with nothing in it can wait for company: looking at it again would cost little.
          if (last !== undefined || relation.rows > 0 || empty.length >= 32)
            await finishRelations(writer, fence, empty.splice(0));
        };

        // Two readers, the largest relations first: while the server passes over rows of one that hold nothing, there
        // is another one to work on. One writer, so that LiteLLM meets one commit of ours at a time.
        const queue = occupied.toSorted((a, b) => b.bytes - a.bytes);
        const read = async (reader: pg.ClientBase): Promise<void> => {
          for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
            stop.throwIfAborted();
            await stageRelation(reader, next);
          }
          await reader.query('commit');
        };
        const ended = [first, second].map((reader) =>
          read(reader).catch((error: unknown) => failed.abort(error)),
        );
        await Promise.all(ended);
        await before.catch(() => undefined);
        // The first failure; what the other reader ended with is only its consequence.
        failed.signal.throwIfAborted();
        if (empty.length > 0) await finishRelations(writer, fence, empty);
        await writer.query(`analyze ${journalSchema}.staged`);
      }),
    ),
  );
  progress({ done: values, total: values });
  return { rows, values };
}

// The throttle may leave a reader idle for long; it holds no lock that LiteLLM minds.
const snapshot =
  'commit; begin isolation level repeatable read read only; set local idle_in_transaction_session_timeout = 0; ';

/** Rows that an earlier attempt has staged are passed over; whether they changed since is for the swap to see. */
function notYetStaged(relation: StagedRelation): string {
  const candidates = selectCandidates(relation, relation.columns);
  if (relation.rows === 0) return candidates;
  const key = relation.key.map((_, at) => `r.k${at + 1}`).join(', ');
  return `select r.* from (${candidates}) as r
    where not exists (select 1 from ${journalSchema}.staged as s where s.relation_id = ${relation.id} and s.key = array[${key}])`;
}

/** A row without a key cannot be found again, so it cannot be carried over. */
export async function refuseKeyless(
  client: pg.ClientBase,
  keyless: readonly Relation[],
  reseal: Reseal,
  prologue = '',
): Promise<void> {
  const holding: string[] = [];
  for (const relation of keyless) {
    const probe: StagedRelation = {
      ...relation,
      key: [],
      columns: relation.columns.map((column, at) => ({ ...column, at: at + 1 })),
      width: relation.columns.length,
      id: 0,
      done: false,
      horizon: null,
      rows: 0,
      sealed: 0,
      touched: [],
    };
    for await (const page of pages(client, selectCandidates(relation, relation.columns), { prologue })) {
      if (!page.some((row) => resealRow(probe, row, reseal) !== undefined)) continue;
      holding.push(relation.name);
      break;
    }
  }
  if (holding.length > 0) throw keylessTables(holding);
}
