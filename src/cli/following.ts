import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, type WorkflowHandle, WorkflowNotFoundError } from '@temporalio/client';
import type { RotationResult } from '../rotation/status.ts';
import { grpcStatus } from '../temporal/connection-error.ts';
import { CommandError, exitCodes } from './exit.ts';
import { forgotten, forgottenLook, needsPerson, resultOf } from './rotation-end.ts';
import { createScreen } from './screen.ts';
import { lookAt, pausedNote, queryStatus, runningNote, unfit } from './workflow-look.ts';

const pollMs = 400;

/** What is followed: how its end is read, and what is said to somebody who stops following. */
export interface Followed<T> {
  resultOf(handle: WorkflowHandle): Promise<T>;
  detached(workflowId: string): CommandError;
  /** When Temporal does not know it any more: it came back without its database. */
  forgotten(workflowId: string): CommandError;
}

export const rotation: Followed<RotationResult> = { resultOf, detached: detachedError, forgotten };

export const planning: Followed<RotationResult> = {
  resultOf,
  detached: (workflowId) =>
    new CommandError(
      exitCodes.detached,
      'no longer following; the plan is made all the same, and changes nothing',
      [`litellm-rotate status ${workflowId} --follow`],
    ),
  forgotten: forgottenLook,
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
  let known = false;
  try {
    for (;;) {
      if (detached.signal.aborted) throw followed.detached(workflowId);
      try {
        const { name, refused } = await client.withAbortSignal(detached.signal, () => lookAt(handle));
        known = true;
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
        if (known && error instanceof WorkflowNotFoundError) throw followed.forgotten(workflowId);
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

function detachedError(workflowId: string): CommandError {
  return new CommandError(exitCodes.detached, 'no longer following; the rotation goes on', [
    `litellm-rotate status ${workflowId} --follow`,
    `temporal workflow cancel --workflow-id ${workflowId}   (rolls it back)`,
  ]);
}
