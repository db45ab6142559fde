import { ApplicationFailure, type WorkflowHandle } from '@temporalio/client';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Activities } from '../../src/activities/index.ts';
import { createRunningCheck } from '../../src/temporal/running.ts';
import { workflowTypes } from '../../src/workflows/messages.ts';
import { createFakeActivities } from './fake-activities.ts';
import { type Harness, startHarness } from './harness.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await startHarness();
});
afterAll(() => harness.stop());

/** Resets a workflow to its very beginning. */
async function reset(handle: WorkflowHandle & { firstExecutionRunId: string }): Promise<void> {
  const { events } = await handle.fetchHistory();
  const first = events?.find(({ workflowTaskCompletedEventAttributes: task }) => task);
  await harness.client.workflowService.resetWorkflowExecution({
    namespace: 'default',
    workflowExecution: { workflowId: handle.workflowId, runId: handle.firstExecutionRunId },
    workflowTaskFinishEventId: first?.eventId ?? null,
    requestId: randomUUID(),
    reason: 'a test',
  });
}

const rotated = {
  database: 'pending',
  secrets: 'pending',
  service: 'running',
  lease: null,
  slot: false,
  canary: false,
};

describe.concurrent('a reset to the beginning', () => {
  test.for(['stageValues', 'swapValues', 'writeSecrets', 'verifyKeys'] as const)(
    'during %s leads back what was cut over, and rotates with the same pending keys',
    async (name) => {
      const rotations: string[] = [];
      let blocked = true;
      const { activities, deployment } = createFakeActivities((_, originals) => ({
        generateKeys: (job) => {
          rotations.push(job.rotation);
          return originals.generateKeys(job);
        },
        [name]: async (...args: never[]) => {
          while (blocked) await sleep(20);
          return (originals[name] as (...input: never[]) => Promise<unknown>)(...args);
        },
      }));
      await harness.withWorker(activities, async (taskQueue) => {
        const { client } = harness;
        const workflowId = `reset-${name}`;
        const handle = await client.workflow.start(workflowTypes.rotate, {
          taskQueue,
          workflowId,
          args: [{ target: 'prod' }],
        });
        const isCalled = (activity: keyof Activities) => deployment.calls.includes(activity);
        for (; !isCalled(name); await sleep(20));
        await reset(handle);
        // Another rotation that asks about the lease is told that this one is at work.
        expect(await createRunningCheck(client)(workflowId, handle.firstExecutionRunId)).toBe(true);
        blocked = false;
        expect(await client.workflow.getHandle(workflowId).result()).toMatchObject({ outcome: 'rotated' });
      });
      expect(rotations).toHaveLength(2);
      expect(rotations[1]).toBe(rotations[0]);
      expect(deployment.calls).not.toContain('discardPendingKeys');
      expect(deployment).toMatchObject(rotated);
    },
  );

  test('of a rotation whose key file somebody has edited in stage goes back without an outage', async () => {
    let blocked = true;
    const changed = () => Promise.reject(ApplicationFailure.nonRetryable('a change', 'ChangedElsewhere'));
    const { activities, deployment } = createFakeActivities((_, originals) => ({
      stageValues: async (job) => {
        while (blocked) await sleep(20);
        return originals.stageValues(job);
      },
      observeParts: async (job) => ({ ...(await originals.observeParts(job)), secrets: 'changed' }),
      stopService: changed,
      restoreSecrets: changed,
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const { client } = harness;
      const handle = await client.workflow.start(workflowTypes.rotate, {
        taskQueue,
        workflowId: 'reset-changed',
        args: [{ target: 'prod' }],
      });
      while (!deployment.calls.includes('stageValues')) await sleep(20);
      await reset(handle);
      blocked = false;
      await expect(client.workflow.getHandle('reset-changed').result()).rejects.toMatchObject({
        cause: { type: 'RolledBack', message: expect.stringContaining('a change') as string },
      });
    });
    expect(deployment.calls).not.toContain('stopServiceAgain');
    expect(deployment).toMatchObject({ ...rotated, database: 'previous', secrets: 'previous' });
  }, 60_000);

  test('after the end is refused, and nothing is touched', async () => {
    const { activities, deployment } = createFakeActivities();
    await harness.withWorker(activities, async (taskQueue) => {
      const { client } = harness;
      const handle = await client.workflow.start(workflowTypes.rotate, {
        taskQueue,
        workflowId: 'reset-ended',
        args: [{ target: 'prod' }],
      });
      await handle.result();
      const before = { ...deployment, calls: [] };
      await reset(handle);
      await expect(client.workflow.getHandle('reset-ended').result()).rejects.toMatchObject({
        cause: {
          type: 'BadRequest',
          message: expect.stringContaining('has ended with the new keys in force') as string,
        },
      });
      expect({ ...deployment, calls: [] }).toEqual(before);
    });
  });
});
