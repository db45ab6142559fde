import { Context } from '@temporalio/activity';
import type { RotationDatabase } from '../reencryption/port.ts';
import type { Fence, ReportProgress } from '../rotation/fence.ts';

/** Well below the heartbeat timeout of the workflow's retry policies. */
const heartbeatEveryMs = 2_000;

/**
 * Runs a step that takes time: heartbeats with its latest progress, and hands it the signal that aborts when the
 * rotation is cancelled, the activity timed out, or the worker shuts down.
 */
export async function withHeartbeat<T>(
  work: (signal: AbortSignal, progress: ReportProgress) => Promise<T>,
): Promise<T> {
  const context = Context.current();
  const signal = context.cancellationSignal;
  let latest: Parameters<ReportProgress>[0] = { done: 0 };
  const beat = () => context.heartbeat(latest);
  beat();
  const timer = setInterval(beat, heartbeatEveryMs);
  try {
    return await work(signal, (progress) => {
      latest = progress;
    });
  } catch (error) {
    // An aborted step fails in its own words; what happened is that it was cancelled.
    if (signal.aborted) return await context.cancelled;
    throw error;
  } finally {
    clearInterval(timer);
  }
}

/**
 * A fencing token for this attempt. Attempts are ordered by when Temporal has scheduled them, not by who asks last: a
 * task that was handed to a frozen worker begins when that wakes, beside the attempt that was scheduled in its stead.
 */
export function takeFence(database: RotationDatabase, rotation: string): Promise<Fence> {
  return database.fence(rotation, Context.current().info.currentAttemptScheduledTimestampMs);
}

/** Waits, or rejects at once when the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
