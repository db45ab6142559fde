import { ApplicationFailure, CancelledFailure } from '@temporalio/client';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withHeartbeat } from '../../src/activities/context.ts';
import { describeReencryption, exitCodeOf } from '../../src/cli/reencrypt.ts';
import type { ReencryptedValues, ReencryptionResult } from '../../src/rotation/reencryption.ts';
import { statusQuery, workflowTypes } from '../../src/workflows/messages.ts';
import { createFakeActivities, type FakeDeployment } from './fake-activities.ts';
import { failureOf, type Harness, startHarness } from './harness.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await startHarness();
});
afterAll(() => harness.stop());

let runs = 0;
const start = (taskQueue: string, input: object, type: string = workflowTypes.reencrypt) =>
  harness.client.workflow.start(type, { taskQueue, workflowId: `reencrypt-${(runs += 1)}`, args: [input] });

/** A promise that the test keeps. */
function promised() {
  let keep = () => {};
  const kept = new Promise<void>((resolve) => {
    keep = resolve;
  });
  return { kept, keep };
}

const upgrade = { target: 'prod', upgradeFormat: 'v2' };
const approved = 'd'.repeat(64);
const line: ReencryptedValues = {
  table: 't',
  column: 'c',
  verdict: 'upgrade',
  layers: ['salt key'],
  format: 'legacy',
  becomes: 'v2',
  marker: '',
  values: 1,
};
/** As a real lease: whoever holds it must have ended, and is returned. */
const takeLease =
  (state: FakeDeployment) =>
  async ({ rotation }: { rotation: string }) => {
    if (state.lease !== null && state.lease !== rotation)
      return { unfinished: state.lease, found: 'nothing' as const };
    state.lease = rotation;
    return { unfinished: null, found: 'nothing' as const };
  };

describe.concurrent('a re-encryption under the same key', () => {
  test('takes the lease, does what is planned, counts what is left, and gives the lease back', async () => {
    const { activities, deployment } = createFakeActivities();
    const result = await harness.withWorker(
      activities,
      async (taskQueue) => (await (await start(taskQueue, upgrade)).result()) as ReencryptionResult,
    );
    expect(result).toMatchObject({ outcome: 'reencrypted', done: { values: 3, passes: 1 }, advice: null });
    expect(exitCodeOf(result)).toBe(0);
    expect(deployment.lease).toBeNull();
    expect(deployment.calls).toEqual([
      'findTarget',
      'takeLease',
      'planReencryption',
      'reencryptValues',
      'countRemaining',
      'releaseLease',
    ]);
  });

  test('ends with a finding that says what to set, when values are left', async () => {
    const { activities } = createFakeActivities((_, originals) => ({
      countRemaining: async (job) => ({ ...(await originals.countRemaining(job)), values: 1, lines: [line] }),
    }));
    const result = await harness.withWorker(
      activities,
      async (taskQueue) => (await (await start(taskQueue, upgrade)).result()) as ReencryptionResult,
    );
    expect(exitCodeOf(result)).toBe(1);
    expect(result.done).toMatchObject({ values: 2 });
    expect(describeReencryption(result)).toContain('set encryption_algorithm: aes-256-gcm');
  });

  test('as a dry run only looks, without the lease, and shows the digest', async () => {
    const { activities, deployment } = createFakeActivities();
    const result = await harness.withWorker(
      activities,
      async (taskQueue) =>
        (await (
          await start(taskQueue, { target: 'prod', repairSealedTwice: true, dryRun: true })
        ).result()) as ReencryptionResult,
    );
    expect(deployment.calls).toEqual(['findTarget', 'planReencryption']);
    expect(result).toMatchObject({ outcome: 'planned', done: null });
    expect(describeReencryption(result)).toContain(`--plan ${approved}`);
  });

  test.for([
    [
      'a format that LiteLLM does not read',
      { ...upgrade, upgradeFormat: 'v3' },
      'proxy.readsFormats',
      'Refused',
    ],
    ['neither of the two', { target: 'prod' }, 'nothing to do', 'BadRequest'],
    ['a repair without a plan', { target: 'prod', repairSealedTwice: true }, '--dry-run', 'BadRequest'],
    ['a plan without a repair', { ...upgrade, plan: approved }, 'is for a repair', 'BadRequest'],
    ['no digest', { ...upgrade, repairSealedTwice: true, plan: 'x' }, '64 hex digits', 'BadRequest'],
  ] as const)('refuses %s before anything is touched', async ([, input, sentence, type]) => {
    const { activities, deployment } = createFakeActivities();
    const failure = await harness.withWorker(activities, async (taskQueue) =>
      failureOf((await start(taskQueue, input)).result()),
    );
    expect(failure.message).toContain(sentence);
    expect(failure.type).toBe(type);
    expect(deployment.calls).not.toContain('takeLease');
    expect(failure.stack).not.toContain('.ts:');
  });

  test('writes v3 where the configuration says that LiteLLM reads it', async () => {
    const { activities } = createFakeActivities(() => ({
      findTarget: async () => ({
        maxOutageSeconds: null,
        readsFormats: ['legacy', 'v2', 'v3'],
        rehearsedAlways: false,
      }),
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { ...upgrade, upgradeFormat: 'v3' });
      expect(await handle.result()).toMatchObject({ outcome: 'reencrypted' });
    });
  });

  test('repairs with the digest of the plan as it is now, and refuses any other', async () => {
    const { activities, deployment } = createFakeActivities();
    const repair = { target: 'prod', repairSealedTwice: true };
    await harness.withWorker(activities, async (taskQueue) => {
      const refused = await failureOf((await start(taskQueue, { ...repair, plan: 'e'.repeat(64) })).result());
      expect(refused.type).toBe('Refused');
      expect(refused.message).toContain(`found a plan with the digest ${approved}`);
      expect(deployment.calls).not.toContain('reencryptValues');
      expect(deployment.lease).toBeNull();
      expect(await (await start(taskQueue, { ...repair, plan: approved })).result()).toMatchObject({
        outcome: 'reencrypted',
      });
    });
  });

  test('refuses beside what an ended rotation left, and leaves its lease alone', async () => {
    const { activities, deployment } = createFakeActivities((state) => ({ takeLease: takeLease(state) }));
    deployment.lease = 'somebody';
    const failure = await harness.withWorker(activities, async (taskQueue) =>
      failureOf((await start(taskQueue, upgrade)).result()),
    );
    expect(failure.type).toBe('Refused');
    expect(failure.message).toContain('litellm-rotate reconcile prod');
    expect(deployment.lease).toBe('somebody');
    expect(deployment.calls).not.toContain('planReencryption');
  });

  test('gives the lease back when it fails, and says that every value is readable', async () => {
    const { activities, deployment } = createFakeActivities(() => ({
      reencryptValues: () => Promise.reject(ApplicationFailure.nonRetryable('no right', 'CountMismatch')),
    }));
    const failure = await harness.withWorker(activities, async (taskQueue) =>
      failureOf((await start(taskQueue, upgrade)).result()),
    );
    expect(failure.message).toMatch(/stopped: no right; every value is readable/);
    expect(deployment.lease).toBeNull();
  });

  test('shows how far it is, and gives the lease back when it is cancelled', async () => {
    const { activities, deployment } = createFakeActivities(() => ({
      reencryptValues: () =>
        withHeartbeat(
          async (signal, progress) => {
            for (let done = 1; ; done += 1) {
              progress({ done, total: 1_000_000 });
              await sleep(20, undefined, { signal });
            }
          },
          { everyMs: 100, nextReport: (ms) => ms },
        ),
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, upgrade);
      while ((await handle.query(statusQuery)).steps.at(-1)?.progress?.total !== 1_000_000) await sleep(20);
      await handle.cancel();
      expect(await failureOf(handle.result())).toBeInstanceOf(CancelledFailure);
    });
    expect(deployment.lease).toBeNull();
  });

  test.for([
    ['rotation', workflowTypes.rotate, { outcome: 'rotated' }],
    ['reconcile', workflowTypes.reconcile, { direction: 'nothing to do' }],
  ] as const)('terminated, is nothing that the next %s stumbles over', async ([, type, ending]) => {
    const over = promised();
    const { activities, deployment } = createFakeActivities((state) => ({
      takeLease: takeLease(state),
      reencryptValues: async () => {
        await over.kept;
        return { upgraded: 0, repaired: 0, rows: 0, passes: 1, missed: 0 };
      },
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, upgrade);
      while (!deployment.calls.includes('reencryptValues')) await sleep(20);
      await handle.terminate('a test');
      expect(await (await start(taskQueue, { target: 'prod' }, type)).result()).toMatchObject(ending);
      over.keep();
    });
    expect(deployment).toMatchObject({ lease: null, service: 'running', slot: false });
    expect(deployment.calls).not.toContain('restoreValues');
  });
});
