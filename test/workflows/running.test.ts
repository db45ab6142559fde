import type { Client } from '@temporalio/client';
import { expect, test } from 'vitest';
import { createRunningCheck } from '../../src/temporal/running.ts';

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
