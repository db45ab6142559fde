import { ApplicationFailure, type WorkflowFailedError } from '@temporalio/client';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withHeartbeat } from '../../src/activities/context.ts';
import type { Activities } from '../../src/activities/index.ts';
import { resultOf } from '../../src/cli/rotation-end.ts';
import { runningNote } from '../../src/cli/workflow-look.ts';
import type { RotationResult, RotationStatus } from '../../src/rotation/status.ts';
import {
  progressSignal,
  resumeUpdate,
  rollbackUpdate,
  statusQuery,
  workflowTypes,
} from '../../src/workflows/messages.ts';
import { createFakeActivities, type FakeDeployment } from './fake-activities.ts';
import { failureOf, type Harness, startHarness } from './harness.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await startHarness();
});
afterAll(() => harness.stop());

let runs = 0;
const start = (taskQueue: string, ...args: unknown[]) =>
  harness.client.workflow.start(workflowTypes.rotate, { taskQueue, workflowId: `run-${(runs += 1)}`, args });

const untouched = {
  database: 'previous',
  secrets: 'previous',
  service: 'running',
  lease: null,
  canary: false,
  staged: false,
  clone: false,
  slot: false,
};
const rotated = { ...untouched, database: 'pending', secrets: 'pending' };
const call = (activity: Activities[keyof Activities], args: never[]) =>
  (activity as (...input: never[]) => Promise<unknown>)(...args);
const fail = (message: string) => () => Promise.reject(ApplicationFailure.nonRetryable(message, 'WrongKey'));

/** The details of the workflow as the Temporal UI shows them. */
async function detailsOf(workflowId: string): Promise<string> {
  const answer = await harness.client.workflowService.queryWorkflow({
    namespace: 'default',
    execution: { workflowId },
    query: { queryType: '__temporal_workflow_metadata' },
  });
  const data = answer.queryResult?.payloads?.[0]?.data ?? new Uint8Array();
  return (JSON.parse(Buffer.from(data).toString('utf8')) as { currentDetails?: string }).currentDetails ?? '';
}

/** Waits until the rotation says that it needs a person. */
async function untilNeedsPerson(handle: Awaited<ReturnType<typeof start>>): Promise<RotationStatus> {
  for (;;) {
    const status = await handle.query(statusQuery);
    if (status.outcome === 'needs a person') return status;
    await sleep(50);
  }
}

describe.concurrent('forward', () => {
  test('ends on the new keys with nothing left over, and says what it did', async () => {
    const { activities, deployment } = createFakeActivities();
    const result = await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod', requestedBy: 'ada', reason: 'TICKET-1' });
      return (await handle.result()) as RotationResult;
    });
    expect(deployment).toMatchObject(rotated);
    expect(result).toMatchObject({
      outcome: 'rotated',
      target: 'prod',
      requestedBy: 'ada',
      reason: 'TICKET-1',
      reencrypted: { values: 3, rows: 2, lateValues: 0 },
      fingerprints: { previous: { master: 'aaaa-aaaa' }, current: { master: 'cccc-cccc' } },
    });
    expect(result.outageMs).toBeGreaterThanOrEqual(0);
    const { restartMs = -1, swapMs = -1 } = result.outageParts ?? {};
    expect(restartMs).toBeGreaterThanOrEqual(0);
    expect(swapMs).toBeGreaterThanOrEqual(0);
    expect(restartMs + swapMs).toBe(result.outageMs);
  });

  test('a dry run makes the plan and touches nothing', async () => {
    const { activities, deployment } = createFakeActivities();
    const result = await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod', dryRun: true });
      return (await handle.result()) as RotationResult;
    });
    expect(result).toMatchObject({ outcome: 'planned', plan: { blocked: false, database: { values: 3 } } });
    expect(deployment).toMatchObject(untouched);
    expect(deployment.calls).not.toContain('generateKeys');
  });
});

describe.concurrent('a proof', () => {
  /** Notes what the named activities are told beside their job, in the order of the calls. */
  function listenTo(activities: Activities, ...names: (keyof Activities)[]): [string, object][] {
    const told: [string, object][] = [];
    for (const name of names) {
      const original = activities[name];
      const noted = ({ target, rotation, ...more }: Record<string, unknown>) => {
        told.push([name, more]);
        return call(original, [{ target, rotation, ...more }] as never[]);
      };
      Object.assign(activities, { [name]: noted });
    }
    return told;
  }

  /** More models each time that they are looked at. */
  function growingModels() {
    let models = 1;
    return () =>
      Promise.resolve({ urls: [], models: (models += 1), modelsDigest: `of ${models}`, findings: [] });
  }

  test('of the new keys is of what was served right before the stop, and of the values with the canary and without', async () => {
    const { activities, deployment } = createFakeActivities((state) => ({
      inspectProxy: growingModels(),
      swapValues: async () => {
        state.database = 'pending';
        // The canary's two are among them.
        return { values: 5, rows: 3, lateValues: 0, tokenRow: 'none' };
      },
    }));
    const told = listenTo(
      activities,
      'verifyKeys',
      'verifyModels',
      'verifyCanary',
      'verifyDatabase',
      'watchServiceLog',
    );
    await harness.withWorker(activities, async (taskQueue) => {
      await (await start(taskQueue, { target: 'prod' })).result();
    });
    expect(told).toEqual([
      ['verifyKeys', { side: 'pending' }],
      ['verifyModels', { models: 3, modelsDigest: 'of 3' }],
      ['verifyCanary', { port: 4711 }],
      ['verifyDatabase', { swapped: 5 }],
      ['watchServiceLog', { tolerate: false }],
      ['verifyDatabase', { swapped: 3 }],
    ]);
    expect(deployment).toMatchObject(rotated);
  });

  test('tolerates decryption errors only where there were some before', async () => {
    const { activities } = createFakeActivities(() => ({
      inspectService: async () => ({ description: 'unit', detail: '', decryptionErrors: 2, findings: [] }),
    }));
    const told = listenTo(activities, 'watchServiceLog');
    await harness.withWorker(activities, async (taskQueue) => {
      await (await start(taskQueue, { target: 'prod' })).result();
    });
    expect(told).toEqual([['watchServiceLog', { tolerate: true }]]);
  });

  test('of the previous keys and the same models ends a rollback', async () => {
    const { activities, deployment } = createFakeActivities(() => ({
      inspectProxy: growingModels(),
      verifyCanary: fail('the provider was sent something else'),
    }));
    const told = listenTo(activities, 'startService', 'awaitReady', 'verifyKeys', 'countModels');
    await harness.withWorker(activities, async (taskQueue) => {
      await failureOf((await start(taskQueue, { target: 'prod' })).result());
    });
    expect(told.slice(3)).toMatchObject([
      ['startService', {}],
      ['awaitReady', { instance: null }],
      ['verifyKeys', { side: 'previous' }],
      ['countModels', { models: 3, modelsDigest: 'of 3' }],
    ]);
    expect(deployment).toMatchObject(untouched);
  });

  test('of other models does not hold up a rollback: they are told', async () => {
    const { activities, deployment } = createFakeActivities(() => ({
      verifyCanary: fail('the provider was sent something else'),
      countModels: async () => ({ models: 5, same: false }),
    }));
    const status = await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod' });
      expect(await failureOf(handle.result())).toMatchObject({ type: 'RolledBack' });
      return handle.query(statusQuery);
    });
    expect(status.steps.map(({ result }) => result)).toContainEqual(
      expect.stringContaining('it serves 5 models, before the rotation 2') as string,
    );
    expect(deployment).toMatchObject(untouched);
  });

  test('of the fence stands between the stop and the swap', async () => {
    const { activities, deployment } = createFakeActivities(() => ({
      proveFenced: fail('a session is open'),
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      await failureOf((await start(taskQueue, { target: 'prod' })).result());
    });
    expect(deployment.calls).toContain('stopService');
    expect(deployment.calls).not.toContain('swapValues');
    expect(deployment).toMatchObject(untouched);
  });
});

describe.concurrent('while a step runs', () => {
  /** Stages two thirds and waits to be let go; heartbeats, and reports, every 50 ms. */
  function staging() {
    let letGo = () => {};
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const { activities } = createFakeActivities((_, originals) => ({
      stageValues: (job) =>
        withHeartbeat(
          async (_signal, progress) => {
            progress({ done: 2, total: job.expected });
            await gate;
            return originals.stageValues(job);
          },
          { everyMs: 50, nextReport: (elapsedMs) => elapsedMs + 100 },
        ),
    }));
    return { activities, letGo };
  }
  const runningStep = async (handle: Awaited<ReturnType<typeof start>>) =>
    (await handle.query(statusQuery)).steps.find(({ state }) => state === 'running');

  test('the query and the current details tell how far it is, and what is told is of that step alone', async ({
    expect,
  }) => {
    const { activities, letGo } = staging();
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod' });
      await expect
        .poll(() => runningStep(handle), { timeout: 20_000 })
        .toMatchObject({ progress: { done: 2, total: 3 } });
      await expect
        .poll(async () => (await detailsOf(handle.workflowId)).includes('2 of 3 values'), { timeout: 20_000 })
        .toBe(true);
      const { steps } = await handle.query(statusQuery);
      await handle.signal(progressSignal, { step: `step ${steps.length - 1}`, done: 77 });
      for (const nonsense of [null, 'x', { done: 77 }, { step: `step ${steps.length}`, done: 'x' }])
        await handle.signal(progressSignal, nonsense);
      expect(await runningStep(handle)).toMatchObject({ progress: { done: 2 } });
      letGo();
      expect(await handle.result()).toMatchObject({ outcome: 'rotated' });
      expect(
        (await handle.query(statusQuery)).steps.filter(({ progress }) => progress !== null),
      ).toHaveLength(1);
    });
  });

  test('its heartbeat tells the count and the total to whoever describes the workflow', async ({
    expect,
  }) => {
    const { activities, letGo } = staging();
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod' });
      const note = async () => (await runningNote(handle, await handle.query(statusQuery))).note;
      await expect.poll(note, { timeout: 20_000 }).toContain('beside the old ones: 2 of 3 values');
      letGo();
      await handle.result();
    });
  });
});

describe.concurrent('back', () => {
  const steps: (keyof Activities)[] = [
    'generateKeys',
    'installCanary',
    'stageValues',
    'stopService',
    'proveFenced',
    'swapValues',
    'writeSecrets',
    'startService',
    'awaitReady',
    'verifyKeys',
    'verifyModels',
    'verifyCanary',
    'verifyDatabase',
    'watchServiceLog',
    'removeCanary',
    'recordEvidence',
  ];
  test.for(steps)('ends on the previous keys when %s fails after it took effect', async (name) => {
    let failures = 0;
    const { activities, deployment } = createFakeActivities((_, originals) => ({
      [name]: async (...args: never[]) => {
        const result = await call(originals[name], args);
        // Only the first time: a compensation may need the same activity.
        if ((failures += 1) === 1) throw ApplicationFailure.nonRetryable('it failed for good', 'WrongKey');
        return result;
      },
    }));
    const failure = await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod' });
      return failureOf(handle.result());
    });
    expect(deployment).toMatchObject(untouched);
    expect(failure).toMatchObject({
      type: 'RolledBack',
      message:
        'rotation of prod failed and was rolled back, every file and value as before, on the previous keys: it failed for good',
    });
    expect(failure.stack ?? '').not.toContain('node_modules');
  });

  test.for([
    ['swapValues', false],
    ['writeSecrets', true],
    ['verifyDatabase', true],
  ] as const)(
    'from %s, values that LiteLLM stored under the pending keys are looked for: %s, by whether it can have had them',
    async ([name, expected]) => {
      const told: unknown[] = [];
      const { activities, deployment } = createFakeActivities((_, originals) => ({
        [name]: fail('it failed'),
        restoreValues: (job) => {
          told.push(job.promoted);
          return originals.restoreValues(job);
        },
      }));
      await harness.withWorker(activities, async (taskQueue) =>
        failureOf((await start(taskQueue, { target: 'prod' })).result()),
      );
      expect(told).toEqual([expected]);
      expect(deployment).toMatchObject(untouched);
    },
  );

  test('refuses blocking findings before anything is touched, and names all of them', async () => {
    const blocking = { severity: 'blocking', where: 'file:1', found: 'a', expected: 'b', next: 'c' } as const;
    const { activities, deployment } = createFakeActivities(() => ({
      inspectService: async () => ({
        description: 'unit',
        detail: 'active',
        decryptionErrors: 0,
        findings: [
          { ...blocking, code: 'one' },
          { ...blocking, code: 'two', where: 'file:2' },
        ],
      }),
    }));
    const failure = await harness.withWorker(activities, async (taskQueue) =>
      failureOf((await start(taskQueue, { target: 'prod' })).result()),
    );
    expect(failure.type).toBe('Refused');
    expect(failure.message).toContain('2 findings to mend first, nothing was changed');
    expect(failure.message).toContain('file:1: found a; expected b; c');
    expect(failure.message).toContain('file:2');
    expect(deployment).toMatchObject(untouched);
    expect(deployment.calls).not.toContain('generateKeys');
  });

  test('refuses an outage longer than the configuration allows before anything is touched', async () => {
    const { activities, deployment } = createFakeActivities(() => ({
      findTarget: async () => ({ maxOutageSeconds: 5, readsFormats: [], rehearsedAlways: false }),
    }));
    const failure = await harness.withWorker(activities, async (taskQueue) =>
      failureOf((await start(taskQueue, { target: 'prod' })).result()),
    );
    expect(failure).toMatchObject({ type: 'Refused' });
    expect(failure.message).toContain(
      'prod: found an expected outage of about 19 s: a restart of LiteLLM (18 s,',
    );
    expect(failure.message).toContain('expected at most 5 s, as maxOutage');
    expect(deployment).toMatchObject(untouched);
    expect(deployment.calls).not.toContain('generateKeys');
  });

  test.for([[{ target: 'prod', kyes: ['salt'] }], ['{"target":"prod"}'], []] as unknown[][])(
    'fails at once with one sentence for the input %j',
    async (args) => {
      const { activities, deployment } = createFakeActivities();
      const failure = await harness.withWorker(activities, async (taskQueue) =>
        failureOf((await start(taskQueue, ...args)).result()),
      );
      expect(failure).toMatchObject({ type: 'BadRequest', nonRetryable: true });
      expect(failure.message).toMatch(/^the input is not a rotation request: [^\n]+$/);
      expect(deployment.calls).toEqual([]);
    },
  );

  test.for(['installCanary', 'stageValues', 'swapValues', 'startService', 'watchServiceLog'] as const)(
    'a cancellation during %s ends restored',
    async (name) => {
      let reached = () => {};
      const running = new Promise<void>((resolve) => {
        reached = resolve;
      });
      let calls = 0;
      const { activities, deployment } = createFakeActivities((_, originals) => ({
        [name]: async (...args: never[]) => {
          if ((calls += 1) > 1) return call(originals[name], args);
          reached();
          await sleep(300);
          throw ApplicationFailure.nonRetryable('ended in the middle', 'ServiceFailed');
        },
      }));
      await harness.withWorker(activities, async (taskQueue) => {
        const handle = await start(taskQueue, { target: 'prod' });
        await running;
        await handle.cancel();
        await handle.result().catch(() => undefined);
      });
      expect(deployment).toMatchObject(untouched);
    },
  );
});

describe.concurrent('past the pivot', () => {
  test.for(['destroyPreviousKeys', 'releaseLease'] as const)(
    'a cancellation during %s changes nothing: it ends on the new keys',
    async (name) => {
      let reached = () => {};
      const running = new Promise<void>((resolve) => {
        reached = resolve;
      });
      const { activities, deployment } = createFakeActivities((_, originals) => ({
        // As an activity does that is told of a cancellation in the middle.
        [name]: (...args: never[]) =>
          withHeartbeat(async (signal) => {
            reached();
            await sleep(3000, undefined, { signal });
            return call(originals[name], args);
          }),
      }));
      const result = await harness.withWorker(activities, async (taskQueue) => {
        const handle = await start(taskQueue, { target: 'prod' });
        await running;
        await handle.cancel();
        return handle.result();
      });
      expect(result).toMatchObject({ outcome: 'rotated' });
      expect(deployment).toMatchObject(rotated);
    },
  );
});

describe.concurrent('a connection string that is wrong', () => {
  const wrong = () =>
    Promise.reject(ApplicationFailure.create({ message: 'no such database', type: 'DatabaseMisconfigured' }));

  test.for([
    [workflowTypes.rotate, { dryRun: true }, 'takeLease'],
    [workflowTypes.reencrypt, { upgradeFormat: 'v2' }, 'takeLease'],
    [workflowTypes.reencrypt, { upgradeFormat: 'v2', dryRun: true }, 'planReencryption'],
    [workflowTypes.reconcile, {}, 'takeLease'],
    [workflowTypes.inventory, {}, 'inventoryValues'],
  ] as const)('is refused by the first attempt of %s %j', async ([type, input, first]) => {
    const attempts: string[] = [];
    const fails = (name: string) => () => (attempts.push(name), wrong());
    const { activities } = createFakeActivities(() => ({
      [first]: fails(first),
      releaseLease: fails('releaseLease'),
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await harness.client.workflow.start(type, {
        taskQueue,
        workflowId: `wrong-${(runs += 1)}`,
        args: [{ target: 'prod', ...input }],
      });
      expect((await failureOf(handle.result())).message).toContain('no such database');
      expect((await handle.query(statusQuery)).outcome).not.toBe('needs a person');
    });
    expect(new Set(attempts).size).toBe(attempts.length);
  });

  test('behind the fence is tried again: somebody may be changing the password', async () => {
    let broken = true;
    const { activities, deployment } = createFakeActivities((_, originals) => ({
      swapValues: (job) => {
        if (!broken) return originals.swapValues(job);
        broken = false;
        return wrong();
      },
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      await (await start(taskQueue, { target: 'prod' })).result();
    });
    expect(deployment).toMatchObject(rotated);
  });
});

describe.concurrent('a cron schedule of Temporal', () => {
  test('is refused by its first run: every run of it would be the same rotation', async () => {
    const { activities, deployment } = createFakeActivities();
    await harness.withWorker(activities, async (taskQueue) => {
      const workflowId = 'by-cron';
      const { firstExecutionRunId } = await harness.client.workflow.start(workflowTypes.rotate, {
        taskQueue,
        workflowId,
        cronSchedule: '@every 1s',
        args: [{ target: 'prod' }],
      });
      const first = harness.client.workflow.getHandle(workflowId, firstExecutionRunId);
      await expect.poll(async () => (await first.describe()).status.name, { timeout: 10_000 }).toBe('FAILED');
      const last = (await first.fetchHistory()).events?.at(-1);
      const { message, applicationFailureInfo } = last?.workflowExecutionFailedEventAttributes?.failure ?? {};
      expect(message).toContain('litellm-rotate schedule create prod');
      expect(applicationFailureInfo?.type).toBe('BadRequest');
      await harness.client.workflow.getHandle(workflowId).terminate();
    });
    expect(deployment).toMatchObject(untouched);
    expect(deployment.calls).toEqual([]);
  });
});

describe.concurrent('a rollback that fails', () => {
  const broken = (deployment: FakeDeployment, mended: () => boolean): Partial<Activities> => ({
    verifyKeys: async ({ side }) => {
      if (side === 'pending' && !mended())
        throw ApplicationFailure.nonRetryable('the proxy refuses the new key', 'WrongKey');
    },
    restoreSecrets: async () => {
      if (!mended())
        throw ApplicationFailure.nonRetryable('/root/.007: somebody changed it', 'ChangedElsewhere');
      deployment.secrets = 'previous';
      return { written: 1, alreadyDone: 0 };
    },
  });

  test('keeps both keys, says what every part is on, and goes back when a person says so', async () => {
    let mended = false;
    const { activities, deployment } = createFakeActivities((state) => broken(state, () => mended));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod' });
      const { problem } = await untilNeedsPerson(handle);
      expect(problem).toContain('the proxy refuses the new key');
      expect(problem).toContain('The rollback then failed: /root/.007: somebody changed it');
      expect(problem).toContain(
        'Database: pending key. Secret files: pending. Service: stopped. Both keys are kept.',
      );
      expect(deployment.slot).toBe(true);
      const { typedSearchAttributes } = await handle.describe();
      expect(typedSearchAttributes.getAll().map(({ value }) => value)).toContain('needs a person');
      mended = true;
      await handle.executeUpdate(rollbackUpdate);
      expect(await failureOf(handle.result())).toMatchObject({ type: 'RolledBack' });
    });
    expect(deployment).toMatchObject(untouched);
  });

  test('goes forward instead when a person says resume, without doing twice what stage did', async () => {
    let mended = false;
    const { activities, deployment } = createFakeActivities((state) => broken(state, () => mended));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod' });
      await untilNeedsPerson(handle);
      mended = true;
      await handle.executeUpdate(resumeUpdate);
      expect(await handle.result()).toMatchObject({ outcome: 'rotated', outageParts: null });
    });
    expect(deployment).toMatchObject(rotated);
    expect(deployment.calls.filter((name) => name === 'generateKeys')).toHaveLength(1);
  });

  test('waits through a restart of the worker', async () => {
    let mended = false;
    const { activities, deployment } = createFakeActivities((state) => broken(state, () => mended));
    const [queue, workflowId] = await harness.withWorker(activities, async (taskQueue) => {
      const first = await start(taskQueue, { target: 'prod' });
      await untilNeedsPerson(first);
      return [taskQueue, first.workflowId] as const;
    });
    mended = true;
    const handle = harness.client.workflow.getHandle(workflowId);
    const { NativeConnection, Worker } = await import('@temporalio/worker');
    const { loadWorkflowBundle } = await import('../../src/temporal/workflow-bundle.ts');
    const connection = await NativeConnection.connect({ address: harness.temporal.address });
    const worker = await Worker.create({
      connection,
      taskQueue: queue,
      workflowBundle: await loadWorkflowBundle(),
      activities,
    });
    await worker.runUntil(async () => {
      await handle.executeUpdate(rollbackUpdate);
      await handle.result().catch(() => undefined);
    });
    await connection.close();
    expect(deployment).toMatchObject(untouched);
  });

  test('refuses a decision that nobody waits for', async () => {
    const { activities } = createFakeActivities(() => ({
      stageValues: () => sleep(400, { values: 3, rows: 2 }),
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod' });
      await expect(handle.executeUpdate(resumeUpdate)).rejects.toMatchObject({
        cause: { message: 'the rotation does not wait for a person' },
      });
      await handle.result();
    });
  });

  test.for([
    [
      'it was cancelled, while a step failed by itself',
      'restoreSecrets',
      'before',
      'the rotation was cancelled',
    ],
    [
      'it was cancelled, while a person was waited for',
      'restoreSecrets',
      'after',
      'the rotation was cancelled',
    ],
    ['what was staged is dropped', 'discardPendingKeys', 'never', 'what was staged is gone'],
  ] as const)('once %s, only goes back: resume is refused', async ([, broken, cancelled, refusal]) => {
    let mended = false;
    let reached = () => {};
    const watching = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const { activities, deployment } = createFakeActivities((_, originals) => ({
      watchServiceLog: async () => {
        reached();
        await sleep(300);
        return fail('a value did not open')();
      },
      [broken]: (...args: never[]) => (mended ? call(originals[broken], args) : fail('not now')()),
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod' });
      await watching;
      if (cancelled === 'before') await handle.cancel();
      await untilNeedsPerson(handle);
      if (cancelled === 'after') {
        await handle.cancel();
        // It is answered after the cancellation has been taken in.
        await handle.query(statusQuery);
      }
      await expect(handle.executeUpdate(resumeUpdate)).rejects.toMatchObject({
        cause: { message: `${refusal}, so it only goes back; send "rollback"` },
      });
      mended = true;
      await handle.executeUpdate(rollbackUpdate);
      await handle.result().catch(() => undefined);
    });
    expect(deployment).toMatchObject(untouched);
  });

  test('past the pivot there is no way back: what remains is finished on resume', async () => {
    let mended = false;
    const { activities, deployment } = createFakeActivities((state) => ({
      destroyPreviousKeys: async () => {
        if (!mended) await fail('the slot cannot be removed')();
        state.slot = false;
        state.staged = false;
      },
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod' });
      const { problem } = await untilNeedsPerson(handle);
      expect(problem).toContain(
        'the new keys are in force and verified; what remains failed: the slot cannot be removed',
      );
      await expect(handle.executeUpdate(rollbackUpdate)).rejects.toMatchObject({
        cause: { message: 'the previous keys are destroyed, so there is no way back; send "resume"' },
      });
      mended = true;
      await handle.executeUpdate(resumeUpdate);
      expect(await handle.result()).toMatchObject({ outcome: 'rotated' });
    });
    expect(deployment).toMatchObject(rotated);
  });

  test('past the pivot, a release that failed after it had released needs nothing but a word', async () => {
    let released = false;
    const { activities, deployment } = createFakeActivities((state) => ({
      destroyPreviousKeys: async () => {
        if (released) await fail('the lease is held by nobody')();
        state.slot = false;
        state.staged = false;
      },
      releaseLease: async () => {
        if (!released) {
          released = true;
          await fail('the answer was lost')();
        }
        state.lease = null;
        return { released: false };
      },
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod' });
      expect((await untilNeedsPerson(handle)).problem).toContain('the answer was lost');
      await handle.executeUpdate(resumeUpdate);
      expect(await handle.result()).toMatchObject({ outcome: 'rotated' });
    });
    expect(deployment).toMatchObject(rotated);
  });
});

describe.concurrent('after a terminate', () => {
  test.for(['installCanary', 'stageValues', 'proveFenced', 'writeSecrets', 'verifyKeys'] as const)(
    'the next rotation leads back what was ended during %s, and then rotates',
    async (name) => {
      let ended: string | null = null;
      let end = () => {};
      const over = new Promise<void>((resolve) => {
        end = resolve;
      });
      const { activities, deployment } = createFakeActivities((state, originals) => ({
        takeLease: async ({ rotation }) => {
          if (state.lease !== null && state.lease !== rotation)
            return { unfinished: state.lease, found: 'nothing' };
          state.lease = rotation;
          return { unfinished: null, found: 'nothing' };
        },
        [name]: async (...args: never[]) => {
          if (ended === null) {
            ended = state.lease;
            await over;
            return undefined;
          }
          return call(originals[name], args);
        },
      }));
      await harness.withWorker(activities, async (taskQueue) => {
        const handle = await start(taskQueue, { target: 'prod' });
        while (ended === null) await sleep(20);
        await handle.terminate('a test');
        const next = await start(taskQueue, { target: 'prod' });
        expect(await next.result()).toMatchObject({ outcome: 'rotated' });
        end();
      });
      expect(deployment).toMatchObject(rotated);
    },
  );

  test('reconcile leaves nothing of keys whose slot was not made to its end, or not destroyed', async () => {
    let half = true;
    const { activities, deployment } = createFakeActivities((state, originals) => ({
      takeLease: async (job) =>
        state.lease === null ? originals.takeLease(job) : { unfinished: state.lease, found: 'nothing' },
      discardPendingKeys: async () => {
        half = false;
      },
    }));
    deployment.lease = 'an ended one';
    await harness.withWorker(activities, async (taskQueue) => {
      const reconciliation = await harness.client.workflow.start(workflowTypes.reconcile, {
        taskQueue,
        workflowId: 'reconcile-half',
        args: [{ target: 'prod' }],
      });
      expect(await reconciliation.result()).toMatchObject({ direction: 'nothing to do' });
    });
    expect(half).toBe(false);
    expect(deployment).toMatchObject(untouched);
  });

  test('a dry run touches nothing of what was ended, and says what leads it to an end', async () => {
    const { activities, deployment } = createFakeActivities((state, originals) => ({
      takeLease: async (job) =>
        state.lease === null ? originals.takeLease(job) : { unfinished: state.lease, found: 'nothing' },
    }));
    const left = { ...untouched, lease: 'an ended one', slot: true, database: 'pending', service: 'stopped' };
    Object.assign(deployment, left);
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod', dryRun: true });
      expect(await failureOf(handle.result())).toMatchObject({
        type: 'Refused',
        message: expect.stringMatching(/nothing was changed; run "litellm-rotate reconcile prod"/) as string,
      });
    });
    expect(deployment).toMatchObject(left);
  });

  const left = { lease: 'an ended one', slot: true, canary: true, staged: true };
  const onTheNewSide = { ...left, database: 'pending', secrets: 'pending' } as const;

  test.for([
    ['a slot, with everything as before', 'back', left, untouched, { touched: false }],
    [
      'a slot, with everything on the new side and proved',
      'forward',
      onTheNewSide,
      rotated,
      { touched: false },
    ],
    [
      'a slot, with everything on the new side and refused',
      'back',
      onTheNewSide,
      untouched,
      { touched: true, proved: false },
    ],
    [
      'a slot, with everything on the new side and stopped',
      'back',
      { ...onTheNewSide, service: 'stopped' },
      untouched,
      { touched: true },
    ],
    [
      'a slot, with the values alone on the new side',
      'back',
      { ...left, database: 'pending', service: 'stopped' },
      untouched,
      { touched: true },
    ],
    [
      'no slot, with the values on the new side',
      'forward',
      { ...onTheNewSide, slot: false, canary: false },
      rotated,
      { touched: false },
    ],
    [
      'no slot, with the values as before',
      'nothing to do',
      { ...left, slot: false, canary: false, clone: true },
      untouched,
      { touched: false },
    ],
  ] as const)('%s: %s', async ([, direction, found, ending, { touched, ...more }], { expect }) => {
    const { activities, deployment } = createFakeActivities((state, originals) => ({
      takeLease: async (job) =>
        state.lease === null ? originals.takeLease(job) : { unfinished: state.lease, found: 'nothing' },
      releaseLease: async () => {
        state.lease = null;
        return { released: true };
      },
      verifyKeys: async ({ side }) => {
        if (side === 'pending' && 'proved' in more) await fail('the proxy refuses the new key')();
      },
    }));
    Object.assign(deployment, found);
    const result = await harness.withWorker(activities, async (taskQueue) => {
      const reconciliation = await harness.client.workflow.start(workflowTypes.reconcile, {
        taskQueue,
        workflowId: `reconcile-${taskQueue}`,
        args: [{ target: 'prod' }],
      });
      return reconciliation.result();
    });
    expect(result).toEqual({ target: 'prod', rotation: 'an ended one', direction });
    expect(deployment).toMatchObject(ending);
    expect(deployment.calls.includes('startService')).toBe(touched);
  });

  test('a key file on neither side is led nowhere: a person is told, and all stays as it is', async () => {
    const { activities, deployment } = createFakeActivities((state, originals) => ({
      takeLease: async () => ({ unfinished: state.lease, found: 'nothing' }),
      observeParts: async (job) => ({ ...(await originals.observeParts(job)), secrets: 'changed' }),
    }));
    Object.assign(deployment, onTheNewSide);
    await harness.withWorker(activities, async (taskQueue) => {
      const reconciliation = await harness.client.workflow.start(workflowTypes.reconcile, {
        taskQueue,
        workflowId: 'reconcile-changed',
        args: [{ target: 'prod' }],
      });
      expect(await failureOf(reconciliation.result())).toMatchObject({
        type: 'NeedsPerson',
        message: expect.stringContaining('under the pending key and a file on neither side') as string,
      });
    });
    expect(deployment).toMatchObject(onTheNewSide);
  });

  test("what cannot be led to one side is a person's work for the rotation that found it, too: it is no refusal", async () => {
    const { activities, deployment } = createFakeActivities((state) => ({
      takeLease: async () => ({ unfinished: state.lease, found: 'nothing' }),
      restoreValues: fail('a count is off'),
    }));
    const between = { ...left, database: 'pending', service: 'stopped' } as const;
    Object.assign(deployment, between);
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod' });
      expect(await failureOf(handle.result())).toMatchObject({
        type: 'NeedsPerson',
        message: expect.stringMatching(/^prod could not be reconciled: .*a count is off/) as string,
      });
      expect(await handle.query(statusQuery)).toMatchObject({ outcome: 'needs a person' });
      const error: unknown = await resultOf(handle).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ exitCode: 4 });
    });
    expect(deployment).toMatchObject(between);
  });

  test.for([
    ['watchServiceLog', 'forward', rotated],
    ['writeSecrets', 'back', untouched],
    ['stageValues', 'back', untouched],
  ] as const)('reconcile leads what was ended during %s %s', async ([name, direction, ending]) => {
    let ended: string | null = null;
    let end = () => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    const { activities, deployment } = createFakeActivities((state, originals) => ({
      takeLease: async ({ rotation }) => {
        if (state.lease !== null && state.lease !== rotation)
          return { unfinished: state.lease, found: 'nothing' };
        state.lease = rotation;
        return { unfinished: null, found: 'nothing' };
      },
      [name]: async (...args: never[]) => {
        if (ended !== null) return call(originals[name], args);
        ended = state.lease;
        await over;
        return undefined;
      },
    }));
    await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod' });
      while (ended === null) await sleep(20);
      await handle.terminate('a test');
      const reconciliation = await harness.client.workflow.start(workflowTypes.reconcile, {
        taskQueue,
        workflowId: `reconcile-${name}`,
        args: [{ target: 'prod' }],
      });
      expect(await reconciliation.result()).toMatchObject({ rotation: ended, direction });
      end();
    });
    expect(deployment).toMatchObject(ending);
  });
});

describe.concurrent('a rehearsal', () => {
  const rehearsed = ['inspectRehearsal', 'cloneDatabase', 'rotateClone', 'proveClone', 'destroyClone'];
  const limited = (maxOutageSeconds: number, rehearsedAlways = false) => ({
    findTarget: async () => ({ maxOutageSeconds, rehearsedAlways, readsFormats: [] }),
  });
  const run = async (
    input: object,
    overrides: Parameters<typeof createFakeActivities>[0] = () => ({}),
  ): Promise<{ deployment: FakeDeployment; status: RotationStatus; ending: unknown }> => {
    const { activities, deployment } = createFakeActivities(overrides);
    return harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod', ...input });
      const ending = await handle.result().catch((error: unknown) => (error as WorkflowFailedError).cause);
      return { deployment, ending, status: await handle.query(statusQuery) };
    });
  };

  test('is held with the pending keys before anything of LiteLLM is touched; its figures are in the evidence', async () => {
    const { deployment, status, ending } = await run({ rehearse: true });
    const { calls } = deployment;
    const order = ['generateKeys', ...rehearsed.slice(1), 'installCanary', 'stageValues', 'stopService'];
    expect(calls.filter((name) => order.includes(name))).toEqual(order);
    expect(calls.indexOf('inspectRehearsal')).toBeLessThan(calls.indexOf('recordPlan'));
    expect(deployment).toMatchObject(rotated);
    expect(ending).toMatchObject({
      outcome: 'rotated',
      rehearsal: {
        clone: 'dump',
        values: 3,
        rows: 2,
        cloneMs: 100,
        stageMs: 200,
        swapMs: 300,
        startMs: 4000,
        stopMs: 500,
      },
    });
    const steps = status.steps.filter(({ phase }) => phase === 'rehearse').map(({ result }) => result);
    expect(steps).toContain('by dump, 0.1 s');
    expect(steps).toContain('4.8 s expected: stop 0.5 s, swap 0.3 s, start 4.0 s');
  });

  test.for([
    ['were served when the clone was made', { models: 3, modelsDigest: 'later' }, 'later'],
    ['preflight saw, where the proxy did not answer then', null, 'd'],
  ] as const)('expects the models that %s', async ([, seen, expected]) => {
    let held: string | undefined;
    const { deployment } = await run({ rehearse: true }, (_, originals) => ({
      cloneDatabase: async (job) => ({ ...(await originals.cloneDatabase(job)), seen }),
      proveClone: (job) => {
        held = job.modelsDigest;
        return originals.proveClone(job);
      },
    }));
    expect(deployment).toMatchObject(rotated);
    expect(held).toBe(expected);
  });

  test.for([
    ['not asked for', {}, false, false],
    ['not asked for, and always held', {}, true, true],
    ['left out, though always held', { rehearse: false }, true, false],
    ['asked for', { rehearse: true }, false, true],
  ] as const)('%s', async ([, input, always, held]) => {
    const { deployment, ending } = await run(input, () => limited(100, always));
    expect(deployment).toMatchObject(rotated);
    expect(deployment.calls.filter((name) => rehearsed.includes(name))).toEqual(held ? rehearsed : []);
    if (!held) expect(ending).toMatchObject({ rehearsal: null });
  });

  test('is in the plan of a dry run, which holds none', async () => {
    const { deployment, ending } = await run({ rehearse: true, dryRun: true });
    expect(ending).toMatchObject({ outcome: 'planned', plan: { rehearsal: { description: 'a clone' } } });
    expect(deployment.calls).not.toContain('cloneDatabase');
  });

  test('that cannot be held refuses the rotation before a key is made', async () => {
    const finding = { severity: 'blocking', code: 'no-rehearsal', where: 'target prod' } as const;
    const { deployment, ending } = await run({ rehearse: true }, () => ({
      inspectRehearsal: async () => ({
        description: 'nowhere',
        findings: [{ ...finding, found: 'no "rehearsal"', expected: 'one', next: 'add it' }],
      }),
    }));
    expect(ending).toMatchObject({ type: 'Refused' });
    expect((ending as Error).message).toContain('target prod: found no "rehearsal"; expected one; add it');
    expect(deployment).toMatchObject(untouched);
    expect(deployment.calls).not.toContain('generateKeys');
  });

  test.for(['cloneDatabase', 'rotateClone', 'proveClone'] as const)(
    'that fails in %s costs nothing: the clone and the pending keys are destroyed, LiteLLM is never stopped',
    async (step) => {
      const { deployment, status, ending } = await run({ rehearse: true }, (_, originals) => ({
        // It has happened, and then fails: as a timeout would.
        [step]: async (...args: never[]) => {
          await call(originals[step], args);
          await fail('it went wrong')();
        },
      }));
      expect(ending).toMatchObject({ type: 'Refused' });
      expect((ending as Error).message).toMatch(/^rotation of prod refused: it went wrong/);
      expect(status).toMatchObject({ outcome: 'refused', outageMs: null });
      expect(deployment).toMatchObject(untouched);
      for (const touched of ['installCanary', 'stageValues', 'stopService', 'writeSecrets'])
        expect(deployment.calls).not.toContain(touched);
      const undone = ['destroyClone', 'discardPendingKeys', 'releaseLease'];
      expect(deployment.calls.filter((name) => undone.includes(name))).toEqual(undone);
    },
  );

  test('that measures a longer outage than is allowed refuses the rotation, with its parts', async () => {
    const { deployment, ending } = await run({ rehearse: true }, () => ({
      ...limited(20),
      proveClone: async () => ({ startMs: 19_900, stopMs: 1_000 }),
    }));
    expect(ending).toMatchObject({ type: 'Refused' });
    expect((ending as Error).message).toContain(
      'found in the rehearsal an outage of 21.2 s (stop 1.0 s, swap 0.3 s, start 19.9 s); expected at most 20 s',
    );
    expect(deployment).toMatchObject(untouched);
    expect(deployment.calls).not.toContain('stopService');
  });

  test('that is cancelled leaves no clone', async () => {
    const { activities, deployment } = createFakeActivities((fake) => ({
      proveClone: () =>
        withHeartbeat(async (signal) => {
          await sleep(60_000, undefined, { signal });
          fake.calls.push('was not cancelled');
          return { startMs: 1, stopMs: 1 };
        }),
    }));
    const status = await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod', rehearse: true });
      while (!deployment.calls.includes('proveClone')) await sleep(20);
      await handle.cancel();
      await handle.result().catch(() => undefined);
      return handle.query(statusQuery);
    });
    expect(status.outcome).toBe('rolled back');
    expect(deployment).toMatchObject(untouched);
  });

  test('whose clone cannot be destroyed waits for a person, with the pending keys kept', async () => {
    let broken = true;
    const { activities, deployment } = createFakeActivities((_, originals) => ({
      proveClone: fail('it went wrong'),
      destroyClone: async (job) =>
        broken ? fail('Postgres cannot be reached')() : originals.destroyClone(job),
    }));
    const status = await harness.withWorker(activities, async (taskQueue) => {
      const handle = await start(taskQueue, { target: 'prod', rehearse: true });
      const waiting = await untilNeedsPerson(handle);
      expect(deployment).toMatchObject({ clone: true, slot: true });
      broken = false;
      await handle.executeUpdate(rollbackUpdate);
      await handle.result().catch(() => undefined);
      return waiting;
    });
    expect(status.problem).toContain('The rollback then failed: Postgres cannot be reached');
    expect(deployment).toMatchObject(untouched);
  });

  test('of a rotation whose workflow was terminated loses its clone to the next one', async () => {
    let taken = 0;
    const { activities, deployment } = createFakeActivities((fake, originals) => {
      Object.assign(fake, { clone: true, slot: true, lease: 'earlier' });
      return {
        takeLease: async (job) =>
          (taken += 1) === 1 ? { unfinished: 'earlier', found: 'nothing' } : originals.takeLease(job),
      };
    });
    await harness.withWorker(activities, async (taskQueue) =>
      (await start(taskQueue, { target: 'prod' })).result(),
    );
    expect(deployment).toMatchObject(rotated);
    expect(deployment.calls.indexOf('destroyClone')).toBeLessThan(
      deployment.calls.indexOf('discardPendingKeys'),
    );
  });
});
