import { ApplicationFailure } from '@temporalio/client';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { withHeartbeat } from '../../src/activities/context.ts';
import { CommandError } from '../../src/cli/exit.ts';
import { follow, rotation } from '../../src/cli/following.ts';
import { runningNote } from '../../src/cli/workflow-look.ts';
import { showRotation } from '../../src/cli/status.ts';
import { statusQuery, workflowTypes } from '../../src/workflows/messages.ts';
import { createFakeActivities } from './fake-activities.ts';
import { type Harness, startHarness } from './harness.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await startHarness();
  vi.stubEnv('TEMPORAL_ADDRESS', harness.temporal.address);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await harness.stop();
});
afterEach(() => vi.restoreAllMocks());

const start = (taskQueue: string, workflowId: string, type: string) =>
  harness.client.workflow.start(type, { taskQueue, workflowId, args: [{ target: 'prod' }] });

/** What `status WORKFLOW-ID` prints. */
async function shown(workflowId: string): Promise<string> {
  const printed: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
  await showRotation(workflowId, {});
  return printed.join('');
}

describe('status of a workflow that is no rotation', () => {
  test('shows what an inventory has found', async () => {
    const { activities } = createFakeActivities();
    await harness.withWorker(activities, async (taskQueue) => {
      await (await start(taskQueue, 'inventory-prod', workflowTypes.inventory)).result();
      expect(await shown('inventory-prod')).toMatch(/\d+ sealed values in \d+ rows/);
    });
  });

  test('tells how long an inventory runs, never less than nothing, and of one that was cancelled that nothing was changed', async () => {
    const { activities } = createFakeActivities(() => ({
      inventoryValues: () =>
        withHeartbeat(async (signal): Promise<never> => {
          for (;;) await sleep(20, undefined, { signal });
        }),
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, 'inventory-cancelled', workflowTypes.inventory);
      while ((await handle.query(statusQuery)).steps.length === 0) await sleep(20);
      // Temporal's clock may be ahead of this machine's.
      const status = await handle.query(statusQuery);
      const steps = status.steps.map((step) => ({ ...step, startedAt: step.startedAt + 60_000 }));
      expect((await runningNote(handle, { ...status, steps })).note).toMatch(/ … 0\.0 s$/);
      await handle.cancel();
      await handle.result().catch(() => undefined);
      const error: unknown = await shown('inventory-cancelled').catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(CommandError);
      expect(error).toMatchObject({ exitCode: 1 });
      expect((error as CommandError).message).not.toContain('rolled back');
    });
  });

  test('shows which way a reconciliation led', async () => {
    const { activities } = createFakeActivities();
    await harness.withWorker(activities, async (taskQueue) => {
      await (await start(taskQueue, 'reconcile-prod', workflowTypes.reconcile)).result();
      expect(await shown('reconcile-prod')).toContain('prod: nothing to reconcile');
    });
  });

  test('says of a rotation that was ended before it had made a key that it had changed nothing', async () => {
    const { activities } = createFakeActivities(() => ({
      takeLease: async () => ({ unfinished: 'r-0', found: 'nothing' }),
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      await (await start(taskQueue, 'reconcile-early', workflowTypes.reconcile)).result();
      expect(await shown('reconcile-early')).toContain(
        'prod: rotation r-0 had changed nothing; its lease is released',
      );
    });
  });
});

describe('a step that fails and is tried again', () => {
  const down = 'found no Postgres that answers (ECONNREFUSED)\u001B[2J';
  const note =
    /! Take the lease: one rotation a database: failed, attempt \d+ follows: found no Postgres that answers \(ECONNREFUSED\)\\u001b\[2J/;

  test('is named with its failure while it is followed, and by status, and no terminal obeys it', async () => {
    let broken = true;
    const { activities } = createFakeActivities((_, originals) => ({
      takeLease: (job) =>
        broken
          ? Promise.reject(ApplicationFailure.create({ message: down, type: 'DatabaseFailed' }))
          : originals.takeLease(job),
    }));
    const printed: string[] = [];
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
    await harness.withWorker(activities, async (taskQueue) => {
      await start(taskQueue, 'down', workflowTypes.rotate);
      const followed = follow(harness.client, 'down', rotation);
      await expect.poll(() => printed.join(''), { timeout: 30_000 }).toMatch(note);
      expect(await shown('down')).toMatch(note);
      broken = false;
      await followed;
    });
  });
});

describe('a reconciliation that fails', () => {
  test.for([
    ['before it has begun is a finding', 'takeLease', 1],
    ['in its middle needs a person, who has no workflow to send anything to', 'observeParts', 4],
  ] as const)('%s', async ([, name, exitCode]) => {
    const { activities } = createFakeActivities(() => ({
      takeLease: async () => ({ unfinished: 'another', found: 'nothing' }),
      [name]: () => Promise.reject(ApplicationFailure.nonRetryable('it went wrong', 'DatabaseFailed')),
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const workflowId = `reconcile-${name}`;
      await (await start(taskQueue, workflowId, workflowTypes.reconcile)).result().catch(() => undefined);
      const error: unknown = await shown(workflowId).catch((reason: unknown) => reason);
      expect(error).toMatchObject({
        exitCode,
        hints: [],
        message: expect.stringContaining('it went wrong') as string,
      });
    });
  });
});

test('a workflow that a worker has taken and cannot run is told from one that none has taken', async () => {
  const printed: string[] = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
  const { activities } = createFakeActivities();
  await harness.withWorker(activities, async (taskQueue) => {
    const handle = await start(taskQueue, 'of-others', 'BakeCake');
    const followed = follow(harness.client, 'of-others', rotation).catch(() => undefined);
    await expect.poll(() => printed.join(''), { timeout: 30_000 }).toContain('cannot run it');
    await handle.terminate();
    await followed;
  });
});

test('a workflow that Temporal forgets while it is followed is no harmless end: what it did may be half done', async () => {
  const printed: string[] = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
  await start('nobody-polls', 'forgotten', workflowTypes.rotate);
  const followed = follow(harness.client, 'forgotten', rotation).catch((reason: unknown) => reason);
  await expect.poll(() => printed.join(''), { timeout: 30_000 }).toContain('waiting for a worker');
  await harness.client.workflowService.deleteWorkflowExecution({
    namespace: 'default',
    workflowExecution: { workflowId: 'forgotten' },
  });
  expect(await followed).toMatchObject({
    exitCode: 4,
    message: expect.stringContaining('Temporal does not know workflow forgotten any more') as string,
    hints: [expect.stringContaining('litellm-rotate reconcile TARGET') as string],
  });
});
