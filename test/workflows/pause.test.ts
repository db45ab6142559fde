import { ApplicationFailure, WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { withHeartbeat } from '../../src/activities/context.ts';
import type { Activities } from '../../src/activities/index.ts';
import { pausedNote } from '../../src/cli/workflow-look.ts';
import type { RotationStatus } from '../../src/rotation/status.ts';
import { continueUpdate, pauseUpdate, statusQuery, workflowTypes } from '../../src/workflows/messages.ts';
import {
  begin,
  fillModels,
  beforeSalt,
  masterKey,
  opened,
  pending,
  previous,
  silent,
  stagedRows,
  transition,
} from '../reencryption/database.ts';
import { useTestDatabase } from '../reencryption/database-hooks.ts';
import { createFakeActivities } from './fake-activities.ts';
import { type Harness, startHarness } from './harness.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await startHarness();
});
afterAll(() => harness.stop());

let runs = 0;
const start = (taskQueue: string, input: object = { target: 'prod' }) =>
  harness.client.workflow.start(workflowTypes.rotate, {
    taskQueue,
    workflowId: `paused-${(runs += 1)}`,
    args: [input],
  });
type Handle = Awaited<ReturnType<typeof start>>;

const untouched = { database: 'previous', service: 'running', lease: null, staged: false, slot: false };
const rotated = { database: 'pending', secrets: 'pending', service: 'running', lease: null, slot: false };

async function refusalOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => new Error('it was not refused'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(WorkflowUpdateFailedError);
  return (error as WorkflowUpdateFailedError).cause?.message ?? '';
}

/** The outcome that a list of workflows shows. */
async function listedOutcome(handle: Handle): Promise<unknown> {
  const { typedSearchAttributes } = await handle.describe();
  return typedSearchAttributes.getAll().find(({ key }) => key.name === 'RotationOutcome')?.value;
}

/** A stage that runs until it is let go or cancelled, and goes on from what it had done. */
function longStage() {
  const state = { calls: 0, done: 0, finish: false };
  const { activities, deployment } = createFakeActivities((_, originals) => ({
    stageValues: (job) =>
      withHeartbeat(async (signal, progress) => {
        state.calls += 1;
        while (!state.finish) {
          progress({ done: (state.done += 1), total: 1_000_000 });
          await sleep(20, undefined, { signal });
        }
        return originals.stageValues(job);
      }),
  }));
  const staging = async () => {
    while (state.done === 0) await sleep(20);
  };
  return { state, activities, deployment, staging };
}

describe.concurrent('a pause', () => {
  test('stops stage, is shown everywhere, and is over when it is continued', async ({ expect }) => {
    const { state, activities, deployment, staging } = longStage();
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue);
      await staging();
      await handle.executeUpdate(pauseUpdate);
      const { done } = state;
      const status: RotationStatus = await handle.query(statusQuery);
      expect(status).toMatchObject({ phase: 'stage', outcome: 'paused' });
      expect(status.steps.at(-1)).toMatchObject({ state: 'running', progress: { done, perSecond: null } });
      expect(pausedNote('w', status)).toMatch(
        /^paused at [\d,]+ of 1,000,000 values; go on with: litellm-rotate continue w$/,
      );
      await expect.poll(() => listedOutcome(handle), { timeout: 20_000 }).toBe('paused');
      expect(deployment.service).toBe('running');
      await sleep(300);
      expect(state).toMatchObject({ calls: 1, done });

      state.finish = true;
      await handle.executeUpdate(continueUpdate);
      expect(await handle.result()).toMatchObject({ outcome: 'rotated' });
      expect(state.calls).toBe(2);
      const { steps, outcome } = await handle.query(statusQuery);
      expect(outcome).toBe('rotated');
      expect(steps.filter(({ title }) => title.startsWith('Re-encrypt'))).toHaveLength(1);
      expect(steps.every((step) => step.state === 'done')).toBe(true);
    });
    expect(deployment).toMatchObject(rotated);
  });

  test('that is continued before stage has stopped does not roll back', async () => {
    const { state, activities, deployment, staging } = longStage();
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue);
      await staging();
      const paused = handle.executeUpdate(pauseUpdate);
      while ((await handle.query(statusQuery)).outcome !== 'paused') await sleep(20);
      await handle.executeUpdate(continueUpdate);
      await paused;
      state.finish = true;
      expect(await handle.result()).toMatchObject({ outcome: 'rotated' });
    });
    expect(deployment).toMatchObject(rotated);
  });

  test('is no rollback where the attempt fails before it hears of it: Temporal makes no other one of a cancelled step', async () => {
    let attempts = 0;
    let fail = (): void => undefined;
    const failing = new Promise<void>((resolve) => {
      fail = resolve;
    });
    const { activities, deployment } = createFakeActivities((_, originals) => ({
      stageValues: async (job) => {
        attempts += 1;
        if (attempts > 1) return originals.stageValues(job);
        await failing;
        throw ApplicationFailure.retryable('Postgres has gone away', 'DatabaseFailed');
      },
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue);
      while (attempts === 0) await sleep(20);
      const paused = handle.executeUpdate(pauseUpdate);
      while ((await handle.query(statusQuery)).outcome !== 'paused') await sleep(20);
      fail();
      await paused;
      await sleep(300);
      expect(await handle.query(statusQuery)).toMatchObject({ outcome: 'paused', phase: 'stage' });
      await handle.executeUpdate(continueUpdate);
      expect(await handle.result()).toMatchObject({ outcome: 'rotated' });
    });
    expect(deployment).toMatchObject(rotated);
  });

  test('lasts when its worker is gone: the next one finds it paused and begins nothing', async () => {
    const { state, activities, deployment, staging } = longStage();
    const [handle, queue] = await harness.withWorker(activities, async (taskQueue) => {
      const started = await start(taskQueue);
      await staging();
      await started.executeUpdate(pauseUpdate);
      return [started, taskQueue] as const;
    });
    const { calls } = deployment;
    const before = [...calls];
    await harness.withWorker(
      activities,
      async () => {
        expect((await handle.query(statusQuery)).outcome).toBe('paused');
        await sleep(500);
        expect(calls).toEqual(before);
        state.finish = true;
        await handle.executeUpdate(continueUpdate);
        expect(await handle.result()).toMatchObject({ outcome: 'rotated' });
      },
      queue,
    );
    expect(deployment).toMatchObject(rotated);
  });

  test('stops a rehearsal, which holds its step anew when it is continued, and then goes on', async () => {
    let calls = 0;
    const { activities, deployment } = createFakeActivities((_, originals) => ({
      proveClone: (job) =>
        withHeartbeat(async (signal) => {
          if ((calls += 1) === 1) await sleep(60_000, undefined, { signal });
          return originals.proveClone(job);
        }),
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod', rehearse: true });
      while (calls === 0) await sleep(20);
      await handle.executeUpdate(pauseUpdate);
      expect(await handle.query(statusQuery)).toMatchObject({ outcome: 'paused', phase: 'rehearse' });
      expect(deployment).toMatchObject({ clone: true, canary: false });
      await handle.executeUpdate(continueUpdate);
      await handle.result();
    });
    expect(calls).toBe(2);
    expect(deployment).toMatchObject({ ...rotated, clone: false });
  });

  test('asked for in preflight holds before any key is made', async () => {
    let letGo = () => {};
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const { activities, deployment } = createFakeActivities((_, originals) => ({
      inventoryDatabase: async (job) => {
        await gate;
        return originals.inventoryDatabase(job);
      },
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue);
      while (!deployment.calls.includes('inventoryDatabase')) await sleep(20);
      await handle.executeUpdate(pauseUpdate);
      letGo();
      while (!deployment.calls.includes('recordPlan')) await sleep(20);
      await sleep(300);
      expect(deployment.calls).not.toContain('generateKeys');
      await handle.executeUpdate(continueUpdate);
      expect(await handle.result()).toMatchObject({ outcome: 'rotated' });
    });
  });

  test('that comes when stage is about to end holds before the service is stopped', async () => {
    const { state, activities, deployment, staging } = longStage();
    const deaf: Activities = {
      ...activities,
      // Does not listen to its cancellation: it ends by itself, in the middle of the pause.
      stageValues: async () => {
        state.done += 1;
        while (!state.finish) await sleep(20);
        return { values: 3, rows: 2 };
      },
    };
    await harness.withWorker(deaf, async (taskQueue) => {
      const handle = await start(taskQueue);
      await staging();
      const paused = handle.executeUpdate(pauseUpdate);
      while ((await handle.query(statusQuery)).outcome !== 'paused') await sleep(20);
      state.finish = true;
      await paused;
      await sleep(300);
      expect(deployment.calls).not.toContain('stopService');
      await handle.executeUpdate(continueUpdate);
      expect(await handle.result()).toMatchObject({ outcome: 'rotated' });
    });
  });

  test('is ended by a cancellation, which rolls back', async () => {
    const { activities, deployment, staging } = longStage();
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue);
      await staging();
      await handle.executeUpdate(pauseUpdate);
      await handle.cancel();
      await expect(handle.result()).rejects.toBeInstanceOf(WorkflowFailedError);
      expect((await handle.query(statusQuery)).outcome).toBe('rolled back');
    });
    expect(deployment).toMatchObject(untouched);
  });

  test('is refused when it makes no sense, and so is going on', async () => {
    const { state, activities, staging } = longStage();
    let stopped = false;
    const slow: Activities = {
      ...activities,
      stopService: async (job) => {
        while (!stopped) await sleep(20);
        return activities.stopService(job);
      },
    };
    await harness.withWorker(slow, async (taskQueue) => {
      const handle = await start(taskQueue);
      await staging();
      expect(await refusalOf(handle.executeUpdate(continueUpdate))).toBe('the rotation is not paused');
      await handle.executeUpdate(pauseUpdate);
      expect(await refusalOf(handle.executeUpdate(pauseUpdate))).toBe('the rotation is paused already');
      state.finish = true;
      await handle.executeUpdate(continueUpdate);
      while ((await handle.query(statusQuery)).phase !== 'fence') await sleep(20);
      expect(await refusalOf(handle.executeUpdate(pauseUpdate))).toContain(
        'the rotation is in phase fence; expected preflight, rehearse or stage',
      );
      stopped = true;
      await handle.result();
    });
  });
});

describe('a paused stage of a real database', () => {
  const lab = useTestDatabase();
  beforeEach(async () => {
    await fillModels(lab.client, 6_000);
  });

  test('goes on where it stopped: nothing is staged twice, and every value is there', async () => {
    let throttle: { throttleValuesPerSecond?: number } = { throttleValuesPerSecond: 400 };
    let seen = 0;
    const { activities, deployment } = createFakeActivities(() => ({
      stageValues: () =>
        withHeartbeat(async (signal, progress) => {
          const database = lab.rotationDatabase(throttle);
          const report: typeof progress = (step) => {
            seen = step.done;
            progress(step);
          };
          const { values, rows } = await database.stage(
            transition,
            await database.fence('r-1'),
            report,
            signal,
          );
          return { values, rows };
        }),
    }));
    const database = lab.rotationDatabase();
    await begin(database);
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue);
      await expect.poll(() => seen, { timeout: 30_000 }).toBeGreaterThan(300);
      await handle.executeUpdate(pauseUpdate);
      const before = await stagedRows(lab.client);
      expect(before.length).toBeGreaterThan(0);
      expect(before.length).toBeLessThan(6_057);
      await sleep(500);
      expect(await stagedRows(lab.client)).toEqual(before);

      throttle = {};
      await handle.executeUpdate(continueUpdate);
      await handle.result();
      const after = await stagedRows(lab.client);
      expect(after).toHaveLength(6_057);
      expect(after).toEqual(expect.arrayContaining(before));
    });
    expect(deployment.calls.filter((name) => name === 'stageValues')).toHaveLength(2);
    const fence = await database.fence('r-1');
    expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({ values: 6_143 });
    const { rows } = await lab.client.query<{ id: string; a: string }>(
      `select model_id as id, litellm_params ->> 'a' as a from "LiteLLM_ProxyModelTable" where model_id like 'filled-%'`,
    );
    expect(rows.filter(({ id, a }) => opened(a, pending) === `PLAIN-${id}`)).toHaveLength(6_000);
    expect(rows.filter(({ a }) => (opened(a, previous) ?? opened(a, beforeSalt)) !== undefined)).toEqual([]);
  });
});
