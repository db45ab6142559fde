import { Context } from '@temporalio/activity';
import type { RotationDatabase } from '../reencryption/port.ts';
import type { Fence, ReportProgress } from '../rotation/fence.ts';
import {
  createRate,
  nextReportMs,
  type ProgressReport,
  progressSignalName,
  readProgressReport,
  type StepProgress,
} from '../rotation/step-progress.ts';

/** Well below the heartbeat timeout of the workflow's retry policies. */
const heartbeatEveryMs = 2_000;

/**
 * Runs a step that takes time: heartbeats with its latest progress, tells it to the workflow now and then, and hands the
 * step the signal that aborts when the rotation is cancelled, the activity timed out, or the worker shuts down. `done`: what
 * was done before it begins.
 */
export async function withHeartbeat<T>(
  work: (signal: AbortSignal, progress: ReportProgress) => Promise<T>,
  { everyMs = heartbeatEveryMs, nextReport = nextReportMs, done: before = 0 } = {},
): Promise<T> {
  const context = Context.current();
  const signal = context.cancellationSignal;
  const rate = createRate();
  const report = createReporting(context, nextReport);
  let latest: StepProgress = { done: before, total: null, perSecond: null, waitedMs: 0 };
  let told = false;
  const beat = () => {
    if (told) latest = { ...latest, perSecond: rate(latest.done, performance.now()) };
    context.heartbeat(latest);
    void report(latest);
  };
  beat();
  const timer = setInterval(beat, everyMs);
  try {
    return await work(signal, ({ done, total = null, waitedMs = 0 }) => {
      told = true;
      latest = { done, total, perSecond: rate(done, performance.now()), waitedMs };
    });
  } catch (error) {
    // An aborted step fails in its own words; what happened is that it was cancelled.
    if (signal.aborted) {
      // What it had done by then is what a paused rotation shows.
      if (context.cancellationDetails?.cancelRequested === true)
        await report({ ...latest, perSecond: null }, true);
      return await context.cancelled;
    }
    throw error;
  } finally {
    clearInterval(timer);
  }
}

/** What the attempts before this one had done, as the last heartbeat has it: some seconds' work less, where one was killed. */
export function doneBefore(): number {
  const details = Context.current().info.heartbeatDetails as object | undefined;
  return readProgressReport({ step: '', ...details })?.done ?? 0;
}

/**
 * A fencing token for this attempt. Attempts are ordered by when Temporal has scheduled them, not by who asks last: a
 * task that was handed to a frozen worker begins when that wakes, beside the attempt that was scheduled in its stead.
 */
export function takeFence(database: RotationDatabase, rotation: string): Promise<Fence> {
  return database.fence(rotation, Context.current().info.currentAttemptScheduledTimestampMs);
}

/**
 * Signals the progress to the workflow when it is due. A heartbeat does not reach it, and an activity that returned in
 * slices would look again, at each start, for the rows that it has staged. A signal that is lost costs nothing.
 */
function createReporting(
  context: Context,
  nextReport: typeof nextReportMs,
): (latest: StepProgress, now?: boolean) => Promise<void> {
  const { activityId, workflowExecution } = context.info;
  const since = performance.now();
  let dueMs = nextReport(0);
  return async (latest, now = false) => {
    const elapsedMs = performance.now() - since;
    if ((elapsedMs < dueMs && !now) || latest.done === 0 || workflowExecution === undefined) return;
    dueMs = nextReport(elapsedMs);
    const { workflowId, runId } = workflowExecution;
    const report: ProgressReport = { step: activityId, ...latest };
    try {
      await context.client.workflow.getHandle(workflowId, runId).signal(progressSignalName, report);
    } catch {
      // Nothing but what is shown depends on it.
    }
  };
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
