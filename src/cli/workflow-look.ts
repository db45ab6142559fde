import { type WorkflowHandle, WorkflowNotFoundError } from '@temporalio/client';
import type { RotationStatus } from '../rotation/status.ts';
import { describeProgress, readProgressReport } from '../rotation/step-progress.ts';
import { statusQuery } from '../workflows/messages.ts';
import { printable } from './printable.ts';
import { type Retry, seconds } from './rendering.ts';

/** A worker that lives answers in some ms; without one, the query waits as long as it may. */
const answerMs = 10_000;

/** A paused rotation has no heartbeat: how far it is, it knows itself. */
export function pausedNote(workflowId: string, { steps }: RotationStatus): string {
  const progress = steps.findLast(({ state }) => state === 'running')?.progress ?? null;
  const { done, total } = progress ?? { done: 0, total: null };
  const far =
    progress === null ? '' : ` at ${describeProgress({ done, total, perSecond: null, waitedMs: 0 })}`;
  return `paused${far}; go on with: litellm-rotate continue ${workflowId}`;
}

/** Whether it runs, and whether a worker has taken it and could not get on with it. */
export async function lookAt(handle: WorkflowHandle): Promise<{ name: string; refused: boolean }> {
  const described = await handle.client.withDeadline(Date.now() + answerMs, () => handle.describe());
  const { status, raw } = described;
  return { name: status.name, refused: (raw.pendingWorkflowTask?.attempt ?? 1) > 1 };
}

/** What a worker of another program, or of another release, makes of a workflow. */
export const unfit =
  'a worker has taken it and cannot run it; is it of this program and release? its log says why';

/** Undefined while no worker answers. */
export async function queryStatus(handle: WorkflowHandle): Promise<RotationStatus | undefined> {
  try {
    return printable(
      await handle.client.withDeadline(Date.now() + answerMs, () => handle.query(statusQuery)),
    );
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) throw error;
    return undefined;
  }
}

/** What there is to say of the running step. */
export interface RunningNote {
  /** How far it is, from its heartbeat, which is fresher than what the workflow knows; empty when no step runs. */
  readonly note: string;
  /** Where its last attempt failed. */
  readonly retry: Retry | null;
}

export async function runningNote(handle: WorkflowHandle, status: RotationStatus): Promise<RunningNote> {
  const running = status.steps.findLast(({ state }) => state === 'running');
  if (running === undefined) return { note: '', retry: null };
  const { raw } = await handle.describe();
  const [activity] = raw.pendingActivities ?? [];
  const data = activity?.heartbeatDetails?.payloads?.[0]?.data;
  const attempt = activity?.attempt ?? 1;
  const tries = attempt > 1 ? `, attempt ${attempt}` : '';
  const failure = activity?.lastFailure?.message;
  const heartbeat = data ? (JSON.parse(Buffer.from(data).toString('utf8')) as object) : {};
  const progress = readProgressReport({ step: '', ...heartbeat }) ?? running.progress;
  const far = progress === null || progress.done === 0 ? '' : `: ${describeProgress(progress)}`;
  return printable({
    note: `${running.title}${far} … ${seconds(Math.max(0, Date.now() - running.startedAt))}${tries}`,
    retry: failure ? { attempt, title: running.title, failure } : null,
  });
}
