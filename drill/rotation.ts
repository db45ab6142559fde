import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import type { Controller } from './controller.ts';
import type { Lane } from './lane.ts';

const limitMs = 8 * 60_000;

/** Waits for the end of the workflow, and speaks for a person when it asks for one and there is one. */
export async function follow(
  handle: WorkflowHandle,
  person: 'rollback' | 'resume' | undefined,
  { broken }: Controller,
): Promise<{ closed: boolean; askedForPerson: boolean; waiting: boolean }> {
  let askedForPerson = false;
  let waiting = false;
  for (const deadline = Date.now() + limitMs; Date.now() < deadline;) {
    const state = await Promise.race([stateOf(handle), broken]);
    if (state === 'closed') return { closed: true, askedForPerson, waiting: false };
    waiting = state === 'needs a person';
    if (waiting && (person === undefined || askedForPerson)) break;
    if (waiting && person !== undefined) {
      askedForPerson = true;
      await handle.executeUpdate(person).catch(() => undefined);
    }
    await sleep(300);
  }
  return { closed: false, askedForPerson, waiting };
}

/** `undefined` while the server is down. */
async function stateOf(handle: WorkflowHandle): Promise<'closed' | 'needs a person' | 'running' | undefined> {
  try {
    const { status, searchAttributes } = await handle.describe();
    if (status.name !== 'RUNNING') return 'closed';
    return searchAttributes['RotationOutcome']?.[0] === 'needs a person' ? 'needs a person' : 'running';
  } catch {
    return undefined;
  }
}

export async function phaseOf(handle: WorkflowHandle): Promise<string> {
  return handle.describe().then(
    ({ searchAttributes }) => `open in phase ${String(searchAttributes['RotationPhase']?.[0])}`,
    () => 'open',
  );
}

/** What the rotation says of itself. */
export async function wordsOf(handle: WorkflowHandle): Promise<string> {
  return handle.query<{ problem: string | null }>('status').then(
    ({ problem }) => problem ?? 'it names no problem',
    () => 'it does not answer',
  );
}

/** Another rotation of the target must be refused, with the first one's id in its failure. */
export async function refusedSecond(lane: Lane, name: string): Promise<readonly string[]> {
  const { firstExecutionRunId, result } = await lane.client.workflow
    .start('RotateMasterKey', {
      args: [{ target: name }],
      taskQueue: 'litellm-rotate',
      workflowId: `${name}-second`,
    })
    .then(async (handle) => ({
      firstExecutionRunId: (await lane.client.workflow.getHandle(name).describe()).runId,
      result: handle.result(),
    }));
  const refusal = await result.then(
    () => 'nothing',
    (error: Error) => (error.cause instanceof Error ? error.cause.message : error.message),
  );
  return refusal.includes(firstExecutionRunId) ? [] : [`the second rotation was not refused: ${refusal}`];
}

/** What the next rotation would do by itself. */
export async function reconcile(lane: Lane, target: string): Promise<string> {
  const workflowId = `reconcile-${target}`;
  const options = { args: [{ target }], taskQueue: 'litellm-rotate', workflowId };
  await lane.client.workflow.execute('ReconcileRotation', options).catch(() => undefined);
  return workflowId;
}
