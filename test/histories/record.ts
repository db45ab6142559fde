import { ApplicationFailure, type WorkflowHandle } from '@temporalio/client';
import { execa } from 'execa';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stopAll } from '../../lab/cleanup.ts';
import { findTemporalCli } from '../../lab/temporal.ts';
import { withHeartbeat } from '../../src/activities/context.ts';
import type { Activities } from '../../src/activities/index.ts';
import {
  continueUpdate,
  pauseUpdate,
  resumeUpdate,
  rollbackUpdate,
  statusQuery,
  workflowTypes,
} from '../../src/workflows/messages.ts';
import { createFakeActivities, type FakeDeployment } from '../workflows/fake-activities.ts';
import { type Harness, startHarness } from '../workflows/harness.ts';

/**
 * Records one history of every ending, with activities that only move a fake deployment, on a real Temporal:
 *
 *   node test/histories/record.ts [name]...
 *
 * Without names, all of them. Record anew only what a release may break: histories of workflows that are still open.
 */
const directory = fileURLToPath(new URL('.', import.meta.url));

interface Ending {
  readonly input: unknown;
  readonly workflowType?: string;
  readonly overrides?: (deployment: FakeDeployment) => Partial<Activities>;
  /** What happens from outside while it runs. */
  readonly meanwhile?: (handle: WorkflowHandle) => Promise<void>;
}

const request = { target: 'prod', requestedBy: 'ada', reason: 'TICKET-1' };
const fail = (message: string, type = 'WrongKey') => Promise.reject(ApplicationFailure.nonRetryable(message, type));

/** A verification that fails, and a rollback that fails once. */
function stuck(): (deployment: FakeDeployment) => Partial<Activities> {
  let [verified, restored] = [0, 0];
  return (deployment) => ({
    verifyKeys: async ({ side }) => {
      if (side === 'pending' && (verified += 1) === 1) await fail('the proxy refuses the new key');
    },
    restoreSecrets: async () => {
      if ((restored += 1) === 1) await fail('/etc/litellm/keys.env: found a change', 'ChangedElsewhere');
      deployment.secrets = 'previous';
      return { written: 1, alreadyDone: 0 };
    },
  });
}

async function untilNeedsPerson(handle: WorkflowHandle): Promise<void> {
  while ((await handle.query(statusQuery)).outcome !== 'needs a person') await sleep(50);
}

/** The first lease is of a rotation whose workflow was terminated right after the swap. */
function terminated(): (deployment: FakeDeployment) => Partial<Activities> {
  let taken = 0;
  return (deployment) => {
    Object.assign(deployment, { database: 'pending', slot: true, staged: true, service: 'stopped', lease: 'earlier' });
    return {
      takeLease: async ({ rotation }) => {
        if ((taken += 1) === 1) return { unfinished: 'earlier', found: 'nothing' };
        deployment.lease = rotation;
        return { unfinished: null, found: 'nothing' };
      },
    };
  };
}

/** A stage that ends only when it is cancelled, the first time. */
function pausable(): () => Partial<Activities> {
  let calls = 0;
  return () => ({
    stageValues: ({ expected }) =>
      withHeartbeat(async (signal, progress) => {
        progress({ done: (calls += 1), total: expected });
        if (calls === 1) await sleep(60_000, undefined, { signal });
        return { values: 3, rows: 2 };
      }),
  });
}

const endings: Record<string, Ending> = {
  rotated: { input: request },
  'rotated-master-only': { input: { ...request, keys: ['master'] } },
  rehearsed: { input: { ...request, rehearse: true } },
  'rehearsal-failed': {
    input: { ...request, rehearse: true },
    overrides: () => ({ proveClone: () => fail('the proxy refuses the new key') }),
  },
  planned: { input: { ...request, dryRun: true } },
  refused: {
    input: request,
    overrides: () => ({
      inspectSecrets: () => fail('refused: 1 finding to mend first, nothing was changed', 'Refused'),
    }),
  },
  reencrypted: {
    workflowType: workflowTypes.reencrypt,
    input: { target: 'prod', upgradeFormat: 'v2', requestedBy: 'ada' },
  },
  'bad-request': { input: { target: 'prod', kyes: ['salt'] } },
  'rolled-back': {
    input: request,
    overrides: () => ({
      verifyKeys: async ({ side }) => {
        if (side === 'pending') await fail('the proxy refuses the new key');
      },
    }),
  },
  cancelled: {
    input: request,
    overrides: () => {
      let calls = 0;
      return {
        stageValues: async () => {
          // Long enough for the cancellation to arrive, which is then what ended it.
          if ((calls += 1) === 1) await sleep(2_000);
          return fail('ended in the middle', 'DatabaseFailed');
        },
      };
    },
    meanwhile: async (handle) => {
      while ((await handle.query(statusQuery)).phase !== 'stage') await sleep(50);
      await handle.cancel();
    },
  },
  'paused-then-continued': {
    input: request,
    overrides: pausable(),
    meanwhile: async (handle) => {
      while (!(await handle.query(statusQuery)).steps.some(({ title }) => title.startsWith('Re-encrypt')))
        await sleep(50);
      await handle.executeUpdate(pauseUpdate);
      await handle.executeUpdate(continueUpdate);
    },
  },
  'needs-a-person-then-rollback': {
    input: request,
    overrides: stuck(),
    meanwhile: async (handle) => {
      await untilNeedsPerson(handle);
      await handle.executeUpdate(rollbackUpdate);
    },
  },
  'needs-a-person-then-resume': {
    input: request,
    overrides: stuck(),
    meanwhile: async (handle) => {
      await untilNeedsPerson(handle);
      await handle.executeUpdate(resumeUpdate);
    },
  },
  'converged-after-terminate': { input: request, overrides: terminated() },
  reconciled: { input: { target: 'prod' }, workflowType: workflowTypes.reconcile, overrides: terminated() },
};

async function record(harness: Harness, cli: string, name: string, ending: Ending): Promise<void> {
  const { activities } = createFakeActivities(ending.overrides);
  await harness.withWorker(activities, async (taskQueue) => {
    const handle = await harness.client.workflow.start(ending.workflowType ?? workflowTypes.rotate, {
      taskQueue,
      workflowId: name,
      args: [ending.input],
    });
    await ending.meanwhile?.(handle);
    await handle.result().catch(() => undefined);
  });
  const show = ['workflow', 'show', '--workflow-id', name, '--output', 'json'];
  const { stdout } = await execa(cli, [...show, '--address', harness.temporal.address]);
  await writeFile(join(directory, `${name}.json`), `${neutral(stdout)}\n`);
}

/** Without the name of this machine, its processes, and the paths of a fake activity's stack trace. */
function neutral(history: string): string {
  const text = history
    .replaceAll(`${process.pid}@${hostname()}`, 'worker@example')
    .replaceAll(`:${hostname()}@`, ':example@');
  return JSON.stringify(
    JSON.parse(text, (key, value: unknown) => (key === 'stackTrace' ? '' : value)),
    undefined,
    1,
  );
}

const named = process.argv.slice(2);
const wanted = Object.entries(endings).filter(([name]) => named.length === 0 || named.includes(name));
if (named.length === 0) {
  for (const file of await readdir(directory)) if (file.endsWith('.json')) await rm(join(directory, file));
}
const harness = await startHarness();
const cli = await findTemporalCli();
try {
  for (const [name, ending] of wanted) await record(harness, cli, name, ending);
} finally {
  await harness.stop();
  await stopAll();
}
