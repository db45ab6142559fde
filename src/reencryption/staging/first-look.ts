import { setImmediate } from 'node:timers/promises';
import type pg from 'pg';
import { journalSchema } from '../journal/journal.ts';
import type { FenceToken } from '../journal/lease.ts';
import type { StagedRelation } from '../journal/staged-relation.ts';
import { finishRelations, type StagedRow } from '../journal/staged-rows.ts';
import { blockRanges } from '../postgres/block-ranges.ts';
import { writtenSince } from '../postgres/horizon.ts';
import { pages, selectCandidates, withRows, type PageSize } from '../postgres/scan.ts';
import type { RelationReader } from '../postgres/relation-reader.ts';
import type { Reseal } from '../values/reseal.ts';
import { resealRow } from './reseal-row.ts';
import { isStagedFor } from './row-conditions.ts';
import type { StagingWriter } from './staging-writer.ts';

/** So that the other sessions' answers, and with them their next statements, do not wait until a page is through. */
const rowsBetweenTurns = 32;

export interface FirstLook {
  readonly readers: readonly [RelationReader, RelationReader];
  /** A session whose statements commit by themselves. */
  readonly writer: pg.ClientBase;
  readonly staging: StagingWriter;
  readonly fence: FenceToken;
  readonly reseal: Reseal;
  readonly size: PageSize;
  /** Aborted by the first failure, with it as the reason. */
  readonly failed: AbortController;
  readonly stop: AbortSignal;
}

/** Looks at every row of the relations that no stage has finished with, and stages what is sealed. */
export async function lookAtUnfinished(
  relations: readonly StagedRelation[],
  { readers, writer, staging, fence, reseal, size, failed, stop }: FirstLook,
): Promise<void> {
  const unfinished = relations.filter(({ done }) => !done);
  // What is written to an empty one from here on is younger than its horizon: it is looked at later.
  const occupied = await withRows(writer, unfinished);
  const empty = unfinished.filter((relation) => !occupied.includes(relation));

  const stageRelation = async (reader: RelationReader, relation: StagedRelation): Promise<void> => {
    let last: Promise<void> | undefined;
    const queries = notYetStaged(relation);
    for await (const page of pages(reader.client, relation, queries, { size, prologue: reader.next() })) {
      const batch: StagedRow[] = [];
      for (const [at, row] of page.entries()) {
        if (at % rowsBetweenTurns === 0) await setImmediate();
        const staged = resealRow(relation, row, reseal);
        if (staged !== undefined) batch.push(staged);
      }
      stop.throwIfAborted();
      if (batch.length > 0) ({ written: last } = await staging.begin(relation, batch));
    }
    await last;
    empty.push(relation);
    // A relation with nothing in it can wait for company: looking at it again would cost little.
    if (last !== undefined || relation.rows > 0 || empty.length >= 32)
      await finishRelations(writer, fence, empty.splice(0));
  };

  // Two readers, the largest relations first: while the server passes over rows of one that hold nothing, there is
  // another one to work on. One writer, so that LiteLLM meets one commit of ours at a time.
  const queue = occupied.toSorted((a, b) => b.bytes - a.bytes);
  const read = async (reader: RelationReader): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      stop.throwIfAborted();
      await stageRelation(reader, next);
    }
    await reader.end();
  };
  await Promise.all(readers.map((reader) => read(reader).catch((error: unknown) => failed.abort(error))));
  await staging.idle();
  // The first failure; what the other reader ended with is only its consequence.
  failed.signal.throwIfAborted();
  if (empty.length > 0) await finishRelations(writer, fence, empty);
}

/**
 * What is older than the relation's horizon, range by range: so each row is found at most once, though what is younger may
 * move from one range to another while they are read. Rows that an earlier attempt has staged are passed over. To look at
 * whatever has changed since is for the end of stage, and for the swap.
 */
function* notYetStaged(relation: StagedRelation): Generator<string> {
  const { columns, rows, pendingHorizon } = relation;
  const ranges = pendingHorizon === null ? ['true'] : blockRanges(relation);
  for (const range of ranges) {
    const older = pendingHorizon === null ? '' : ` and not ${writtenSince(pendingHorizon)}`;
    const candidates = selectCandidates(relation, columns, range + older);
    yield rows === 0
      ? candidates
      : `select r.* from (${candidates}) as r
          where not exists (select 1 from ${journalSchema}.staged as s where ${isStagedFor(relation)})`;
  }
}
