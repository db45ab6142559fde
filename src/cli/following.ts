import { setTimeout as sleep } from 'node:timers/promises';
import {
  ApplicationFailure,
  CancelledFailure,
  type Client,
  TerminatedFailure,
  TimeoutFailure,
  WorkflowFailedError,
  type WorkflowHandle,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { failureTypes } from '../rotation/failure.ts';
import type { RotationResult, RotationStatus, Step } from '../rotation/status.ts';
import { describeProgress, readProgressReport } from '../rotation/step-progress.ts';
import { grpcStatus } from '../temporal/connection-error.ts';
import { statusQuery } from '../workflows/messages.ts';
import { CommandError, exitCodes } from './exit.ts';
import { printable } from './printable.ts';
import { fit, renderPhase, renderRetry, renderStep, type Retry, seconds } from './rendering.ts';

const pollMs = 400;
/** A worker that lives answers in some ms; without one, the query waits as long as it may. */
const answerMs = 10_000;

/** What is followed: how its end is read, and what is said to somebody who stops following. */
export interface Followed<T> {
  resultOf(handle: WorkflowHandle): Promise<T>;
  detached(workflowId: string): CommandError;
}

export const rotation: Followed<RotationResult> = { resultOf, detached: detachedError };

export const planning: Followed<RotationResult> = {
  resultOf,
  detached: (workflowId) =>
    new CommandError(
      exitCodes.detached,
      'no longer following; the plan is made all the same, and changes nothing',
      [`litellm-rotate status ${workflowId} --follow`],
    ),
};

/**
 * Shows a workflow's steps on stderr as they finish, until it ends. Resolves with its result; throws `CommandError`
 * with the exit code of its ending. Ctrl-C gives up following and leaves the workflow alone.
 */
export async function follow<T>(client: Client, workflowId: string, followed: Followed<T>): Promise<T> {
  const handle = client.workflow.getHandle(workflowId);
  const detached = new AbortController();
  const onInterrupt = () => detached.abort();
  process.once('SIGINT', onInterrupt);
  const screen = createScreen();
  try {
    for (;;) {
      if (detached.signal.aborted) throw followed.detached(workflowId);
      try {
        const { name, refused } = await client.withAbortSignal(detached.signal, () => lookAt(handle));
        const status = await client.withAbortSignal(detached.signal, () => queryStatus(handle));
        if (detached.signal.aborted) continue;
        if (status !== undefined) screen.show(status, await runningNote(handle, status));
        else if (name === 'RUNNING') screen.note(refused ? unfit : 'waiting for a worker on the task queue');
        if (status?.outcome === 'paused') screen.note(pausedNote(workflowId, status));
        if (name !== 'RUNNING') return await followed.resultOf(handle);
        // A reconciliation says so with its last breath.
        if (status?.outcome === 'needs a person' && (await lookAt(handle)).name === 'RUNNING')
          throw needsPerson(workflowId, status);
      } catch (error) {
        // The workflow is none the worse for it, and how it ends must not be guessed.
        const unanswered = grpcStatus(error);
        if (unanswered === undefined) throw error;
        if (!detached.signal.aborted)
          screen.note(`Temporal does not answer (${unanswered.message.split(':', 1)[0]}); asking again`);
      }
      await sleep(pollMs, undefined, { signal: detached.signal }).catch(() => undefined);
    }
  } finally {
    screen.clear();
    process.off('SIGINT', onInterrupt);
  }
}

/** The result of a workflow that has closed, or what its failure means. */
export async function resultOf(handle: WorkflowHandle): Promise<RotationResult> {
  try {
    return printable((await handle.result()) as RotationResult);
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    const { cause } = error;
    if (cause instanceof CancelledFailure) {
      throw new CommandError(
        exitCodes.rolledBack,
        'the rotation was cancelled and rolled back: every file and value is as before',
      );
    }
    if (cause instanceof TerminatedFailure || cause instanceof TimeoutFailure)
      throw endedByForce(handle.workflowId);
    const type = cause instanceof ApplicationFailure ? cause.type : undefined;
    const code =
      type === failureTypes.badRequest
        ? exitCodes.usage
        : type === failureTypes.refused || type === failureTypes.leaseHeld
          ? exitCodes.finding
          : type === 'RolledBack'
            ? exitCodes.rolledBack
            : exitCodes.needsPerson;
    throw new CommandError(code, cause?.message ?? error.message);
  }
}

/** No compensation ran: what was done stands, until somebody converges it. */
function endedByForce(workflowId: string): CommandError {
  return new CommandError(
    exitCodes.needsPerson,
    `workflow ${workflowId} was terminated or timed out, so nothing was rolled back: the deployment may be in the middle of a rotation`,
    ['litellm-rotate reconcile TARGET   (leads it to one side; so does the next rotation)'],
  );
}

export function needsPerson(workflowId: string, { problem }: RotationStatus): CommandError {
  return new CommandError(exitCodes.needsPerson, `the rotation needs a person: ${problem ?? ''}`, [
    `after mending what it names: temporal workflow update execute --name rollback --workflow-id ${workflowId}`,
    `or, to go forward instead: temporal workflow update execute --name resume --workflow-id ${workflowId}`,
    'docs/runbook.md, "a rotation that needs a person", says how to choose',
  ]);
}

function detachedError(workflowId: string): CommandError {
  return new CommandError(exitCodes.detached, 'no longer following; the rotation goes on', [
    `litellm-rotate status ${workflowId} --follow`,
    `temporal workflow cancel --workflow-id ${workflowId}   (rolls it back)`,
  ]);
}

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

/** Lines that stay, and on a terminal one line below them that changes. */
function createScreen() {
  const live = process.stderr.isTTY;
  // A line that the terminal breaks would not be written over.
  const columns = () => process.stderr.columns || 80;
  let shown = 0;
  let phase = '';
  let noted = '';
  let told: Retry | null = null;
  const clear = () => {
    if (live) process.stderr.write('\r\u001B[K');
  };
  const line = (text: string) => {
    clear();
    process.stderr.write(`${text}\n`);
  };
  const enter = (step: Step) => {
    if (step.phase !== phase) line(renderPhase((phase = step.phase), process.stderr));
  };
  return {
    clear,
    note(text: string) {
      if (live && text.length + 2 < columns()) process.stderr.write(`\r\u001B[K  ${text}`);
      else if (text !== noted) line(`  ${text}`);
      noted = text;
    },
    show(status: RotationStatus, { note, retry }: RunningNote) {
      for (const step of status.steps.slice(shown)) {
        if (step.state === 'running') break;
        enter(step);
        line(renderStep(step, process.stderr));
        shown += 1;
      }
      const running = status.steps[shown];
      if (running !== undefined && retry !== null) {
        const known = retry.title === told?.title && retry.failure === told.failure;
        // On a terminal, the line that changes counts the attempts.
        if (!known || (!live && retry.attempt !== told?.attempt)) {
          enter(running);
          line(renderRetry({ ...retry, failure: known ? 'as before' : retry.failure }, process.stderr));
        }
      }
      told = retry;
      if (live) process.stderr.write(`\r\u001B[K${fit(`  ${note}`, columns())}`);
    },
  };
}
