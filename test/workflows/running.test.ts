import type { Client } from '@temporalio/client';
import { expect, test } from 'vitest';
import { createRunningCheck } from '../../src/temporal/running.ts';
import { workflowTypes } from '../../src/workflows/messages.ts';
import { startHarness } from './harness.ts';

// By a client that says so, as no server of the lab's pauses workflows: 1.30 and later can.
test.for([
  ['RUNNING', true],
  ['PAUSED', true],
  ['FAILED', false],
  ['CANCELLED', false],
  ['TERMINATED', false],
  ['TIMED_OUT', false],
])('a workflow that is %s is at work: %s', async ([name, expected]) => {
  const description = { status: { name }, raw: { workflowExecutionInfo: { firstRunId: 'r-1' } } };
  const client = { workflow: { getHandle: () => ({ describe: async () => description }) } };
  expect(await createRunningCheck(client as unknown as Client)('w', 'r-1')).toBe(expected);
});

test('of two rotations under one workflow id, as a schedule makes them, only the one that is open is at work', async () => {
  const harness = await startHarness();
  const { workflow } = harness.client;
  const isRunning = createRunningCheck(harness.client);
  const options = { taskQueue: 'nobody polls it', workflowId: 'rotate-prod', args: [{ target: 'prod' }] };
  try {
    const first = await workflow.start(workflowTypes.rotate, options);
    expect(await isRunning('rotate-prod', first.firstExecutionRunId)).toBe(true);
    await first.terminate();
    expect(await isRunning('rotate-prod', first.firstExecutionRunId)).toBe(false);
    const second = await workflow.start(workflowTypes.rotate, options);
    expect(await isRunning('rotate-prod', first.firstExecutionRunId)).toBe(false);
    expect(await isRunning('rotate-prod', second.firstExecutionRunId)).toBe(true);
    expect(await isRunning('of nobody', second.firstExecutionRunId)).toBe(false);
  } finally {
    await harness.stop();
  }
});
