import { setImmediate } from 'node:timers/promises';
import type pg from 'pg';
import type { ReportProgress } from '../../rotation/fence.ts';
import type { FenceToken } from '../journal/lease.ts';
import type { StagedRelation } from '../journal/staged-relation.ts';
import { writeStagedRows, type StagedRow } from '../journal/staged-rows.ts';
import { createThrottle } from '../pacing/throttle.ts';
import type { Yielding } from '../pacing/yielding.ts';

export interface StagingWriterOptions {
  /** Undefined: never waits for others. */
  readonly yielding: Yielding | undefined;
  /** The highest mean rate; undefined: no limit. */
  readonly valuesPerSecond: number | undefined;
  readonly signal: AbortSignal;
  /** Told of every write; `done` is counted from here. */
  readonly progress: ReportProgress;
  readonly done: number;
}

/** Staged rows on their way into the journal: one commit at a time, as fast as the limits and LiteLLM let it. */
export interface StagingWriter {
  /**
   * Begins a write once the one before has ended; the caller reads on meanwhile. Rows that are staged already are passed
   * over, or overwritten.
   */
  begin(
    relation: StagedRelation,
    batch: readonly StagedRow[],
    options?: { readonly overwrite?: boolean },
  ): Promise<{ readonly written: Promise<void> }>;
  /** When the last write that was begun has ended, in whichever way. */
  idle(): Promise<void>;
}

/** @param writer a session whose statements commit by themselves */
export function createStagingWriter(
  writer: pg.ClientBase,
  fence: FenceToken,
  { yielding, valuesPerSecond, signal, progress, done }: StagingWriterOptions,
): StagingWriter {
  const throttle = createThrottle(valuesPerSecond);
  let values = done;
  let before: Promise<void> = Promise.resolve();

  return {
    async begin(relation, batch, options) {
      const write = async (): Promise<void> => {
        const written = await writeStagedRows(writer, fence, relation, batch, options);
        // What is staged again was counted the first time.
        if (options?.overwrite !== true) values += written.values;
        progress({ done: values, note: relation.name, waitedMs: yielding?.waitedMs ?? 0 });
      };
      const begun = before.then(async () => {
        await yielding?.wait(signal);
        const written = write();
        written.catch(() => undefined); // awaited by the write after it, and by whoever began it
        return { written };
      });
      before = begun.then(({ written }) => written);
      before.catch(() => undefined);
      const begunNow = await begun;
      await setImmediate();
      await throttle.after(
        batch.reduce((sum, { sealed }) => sum + sealed, 0),
        signal,
      );
      return begunNow;
    },
    idle: () => before.catch(() => undefined),
  };
}
