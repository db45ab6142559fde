import { type ApplicationFailure, Client, WorkflowFailedError } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { expect } from 'vitest';
import { startTemporal, type Temporal } from '../../lab/temporal.ts';
import type { Activities } from '../../src/activities/index.ts';
import { loadWorkflowBundle } from '../../src/temporal/workflow-bundle.ts';
import { searchAttributes } from '../../src/workflows/messages.ts';

/** A real Temporal with the real workflows; what the activities do is up to each test. */
export interface Harness {
  readonly client: Client;
  readonly temporal: Temporal;
  /** Runs a worker with these activities while `work` runs, on a task queue of its own or on the one named. */
  withWorker<T>(
    activities: Activities,
    work: (taskQueue: string) => Promise<T>,
    taskQueue?: string,
  ): Promise<T>;
  stop(): Promise<void>;
}

export async function startHarness(): Promise<Harness> {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { filter: 'ERROR', forward: {} } },
  });
  const temporal = await startTemporal({
    searchAttributes: Object.fromEntries(
      Object.values(searchAttributes).map(({ name }) => [name, 'Keyword'] as const),
    ),
  });
  const connection = await NativeConnection.connect({ address: temporal.address });
  const workflowBundle = await loadWorkflowBundle();
  let count = 0;
  return {
    client: new Client({ connection }),
    temporal,
    async withWorker(activities, work, taskQueue = `test-${(count += 1)}`) {
      const worker = await Worker.create({
        connection,
        taskQueue,
        workflowBundle,
        activities,
        maxHeartbeatThrottleInterval: '2 seconds',
      });
      return worker.runUntil(work(taskQueue));
    },
    async stop() {
      await connection.close();
      await temporal.stop();
    },
  };
}

/** The failure that a workflow ends with; the test fails when it ends well. */
export async function failureOf(promise: Promise<unknown>): Promise<ApplicationFailure> {
  const error = await promise.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(WorkflowFailedError);
  return (error as WorkflowFailedError).cause as ApplicationFailure;
}
