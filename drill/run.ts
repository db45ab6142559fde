import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import type { Child } from '../lab/child.ts';
import { writeConfig } from '../lab/deployment.ts';
import { withClient } from '../lab/postgres.ts';
import { workflowTaskTimeout } from '../src/workflows/messages.ts';
import { judge, keysIn, look, slotPath, type Verdict } from './check.ts';
import { createDrilledDeployment, type DrilledDeployment, type ServiceKind } from './deployment.ts';
import { files, type Injection, type Passed } from './injection.ts';
import type { Lane } from './lane.ts';
import { findLeaks } from './leaks.ts';
import { watchOutage } from './outage.ts';
import { startDrilledWorker } from './worker-process.ts';

/** What to do in one run. */
export interface Drill {
  readonly name: string;
  readonly injections: readonly Injection[];
  /** Writers at work all the while. */
  readonly busy?: boolean;
  /** What a person sends when the rotation waits for one; without it, waiting is a failure. */
  readonly person?: 'rollback' | 'resume';
}

/** How one run ended. */
export interface Ended {
  readonly drill: Drill;
  /** `not reached`: the point did not come up in this run, so nothing was injected. */
  readonly ended: 'new' | 'restored' | 'between' | 'lost' | 'needs a person' | 'stuck' | 'not reached';
  /** It waited for a person on its way. */
  readonly askedForPerson: boolean;
  readonly problems: readonly string[];
  readonly seconds: number;
  readonly outageSeconds: number;
  readonly points: readonly Passed[];
}

const limitMs = 8 * 60_000;
let runs = 0;

/** Makes a deployment, starts a worker and a rotation, lets happen what is to happen, and judges what is left. */
export async function run(lane: Lane, drill: Drill, serviceKind: ServiceKind): Promise<Ended> {
  const name = `${lane.name}-${(runs += 1)}`;
  const directory = join(lane.directory, name);
  const postgresLog = { path: lane.postgres.log, from: (await stat(lane.postgres.log)).size };
  const deployment = await createDrilledDeployment(lane, name, join(directory, 'target'), {
    busy: drill.busy === true,
    serviceKind,
  });
  await deployment.start();
  const config = join(directory, 'litellm-rotate.yaml');
  await writeConfig(config, [deployment]);
  await writeFile(join(directory, files.plan), JSON.stringify(drill.injections));
  const before = await look(deployment);
  const secrets = new Set([deployment.keys.master, deployment.keys.salt ?? '']);
  const outage = watchOutage(deployment.url);
  const startedAt = Date.now();
  const second: string[] = [];
  const startSecond = () => refusedSecond(lane, name, second);
  const controller = await startController(lane, {
    drill,
    deployment,
    directory,
    config,
    secrets,
    startSecond,
  });
  try {
    const handle = await lane.client.workflow.start('RotateMasterKey', {
      args: [{ target: name, requestedBy: 'the drill' }],
      taskQueue: 'litellm-rotate',
      workflowTaskTimeout,
      workflowId: name,
    });
    const { closed, askedForPerson, waiting } = await follow(handle, drill, controller);
    // While a worker can answer.
    const words = closed ? [] : [await phaseOf(handle), await wordsOf(handle)];
    const seconds = Math.round((Date.now() - startedAt) / 100) / 10;
    const points = await readPoints(directory);
    const ids = drill.injections.some(({ fault }) => fault === 'second') ? [name, `${name}-second`] : [name];
    if (closed && (await leaseIsLeft(deployment))) ids.push(await reconcile(lane, name));
    await controller.stop();
    const outageSeconds = Math.round((await outage.stop()) / 100) / 10;
    const verdict = await judge(deployment, before, lane.seeded.virtualKey);
    const allowed = [deployment.keyFile, deployment.envFile, deployment.ledger, slotPath(deployment)];
    const leaks = await findLeaks(lane.client, ids, directory, secrets, allowed, [postgresLog]);
    const problems = [...verdict.problems, ...second, ...leaks.map((place) => `key material in ${place}`)];
    const fired = drill.injections.every((_, n) => existsSync(join(directory, files.fired(n))));
    return {
      drill,
      ended: closed ? endOf(verdict, problems, fired) : waiting ? 'needs a person' : 'stuck',
      askedForPerson,
      problems: [...problems, ...words],
      seconds,
      outageSeconds,
      points,
    };
  } finally {
    await controller.stop();
    await outage.stop();
    await deployment.stop().catch(() => undefined);
    await cleanUp(lane, name);
  }
}

function endOf({ side }: Verdict, problems: readonly string[], fired: boolean): Ended['ended'] {
  if (side === 'lost' || side === 'between') return side;
  if (problems.length > 0) return 'between';
  return fired ? side : 'not reached';
}

interface Controller {
  /** Rejects when a server or a worker could not be brought up again. */
  readonly broken: Promise<never>;
  stop(): Promise<void>;
}

/** Restarts what is killed, at once, and does to the servers what a worker at its point asks for. */
async function startController(
  lane: Lane,
  {
    drill,
    deployment,
    directory,
    config,
    secrets,
    startSecond,
  }: {
    drill: Drill;
    deployment: DrilledDeployment;
    directory: string;
    config: string;
    secrets: Set<string>;
    startSecond: () => Promise<void>;
  },
): Promise<Controller> {
  const options = {
    directory,
    config,
    temporalAddress: lane.temporalAddress,
    compileCache: lane.compileCache,
    env: deployment.workerEnv,
  };
  const workers: Child[] = [await startDrilledWorker(options)];
  const life = { going: true };
  const finish = (n: number) => writeFile(join(directory, files.done(n)), '');

  const zombie = async (n: number, worker: Child, beside: boolean): Promise<void> => {
    const { point } = JSON.parse(await readFile(join(directory, files.fired(n)), 'utf8')) as Passed;
    const activity = point.split(':')[0] ?? '';
    workers.push(await startDrilledWorker(options));
    // Woken when its successor begins, or when that has gone on to the next activity.
    for (const deadline = Date.now() + 90_000; life.going && Date.now() < deadline; await sleep(50)) {
      const successors = (await readPoints(directory)).filter(({ pid }) => pid !== worker.pid);
      if (successors.some((passed) => (passed.point.split(':')[0] === activity) === beside)) break;
    }
    await finish(n);
    process.kill(worker.pid, 'SIGCONT');
  };

  const inject = async (n: number, { fault }: Injection): Promise<void> => {
    const worker = workers.at(-1);
    switch (fault) {
      case 'postgres':
        await lane.crashPostgres();
        return finish(n);
      case 'temporal':
        await lane.killTemporal();
        return finish(n);
      case 'cancel':
        await lane.client.workflow.getHandle(deployment.name).cancel();
        return finish(n);
      case 'terminate':
        await lane.client.workflow.getHandle(deployment.name).terminate('the drill');
        return finish(n);
      case 'second':
        // Not awaited: its activities may wait for the worker that waits here.
        void startSecond();
        return finish(n);
      case 'zombie beside':
      case 'zombie late':
        if (worker !== undefined) await zombie(n, worker, fault === 'zombie beside');
        return;
      case 'fail':
      case 'kill':
        return;
      default:
        fault satisfies never;
    }
  };

  const loop = (async () => {
    const seen = new Set<number>();
    for (; life.going; await sleep(25)) {
      for (const [n, injection] of drill.injections.entries()) {
        if (seen.has(n) || !existsSync(join(directory, files.fired(n)))) continue;
        seen.add(n);
        await inject(n, injection);
      }
      const dead = workers.findIndex((worker) => worker.ended() !== undefined);
      if (dead >= 0 && life.going) {
        workers.splice(dead, 1);
        workers.push(await startDrilledWorker(options));
      }
      const slot = await readFile(slotPath(deployment), 'utf8').catch(() => '');
      for (const [key] of slot.matchAll(/sk-[0-9a-f]{64}/g)) secrets.add(key);
      const now = keysIn(await readFile(deployment.keyFile, 'utf8').catch(() => ''));
      for (const key of [now.master, now.salt]) if (key !== '') secrets.add(key);
    }
  })();
  const broken = loop.then(
    () => new Promise<never>(() => undefined),
    (error: unknown) => Promise.reject(error),
  );
  broken.catch(() => undefined);
  return {
    broken,
    async stop() {
      life.going = false;
      await loop.catch(() => undefined);
      await Promise.all(
        workers.splice(0).map(async (worker) => {
          worker.abandon('SIGCONT');
          await worker.stop('SIGKILL', 5_000);
        }),
      );
    },
  };
}

/** Waits for the end of the workflow, and speaks for a person when it asks for one and there is one. */
async function follow(
  handle: WorkflowHandle,
  { person }: Drill,
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

async function phaseOf(handle: WorkflowHandle): Promise<string> {
  return handle.describe().then(
    ({ searchAttributes }) => `open in phase ${String(searchAttributes['RotationPhase']?.[0])}`,
    () => 'open',
  );
}

/** What the rotation says of itself. */
async function wordsOf(handle: WorkflowHandle): Promise<string> {
  return handle.query<{ problem: string | null }>('status').then(
    ({ problem }) => problem ?? 'it names no problem',
    () => 'it does not answer',
  );
}

async function leaseIsLeft(deployment: DrilledDeployment): Promise<boolean> {
  return withClient(deployment.databaseUrl, async (client) => {
    const { rows } = await client.query<{ found: boolean }>(
      `select to_regclass('litellm_rotate.lease') is not null as found`,
    );
    if (rows[0]?.found !== true) return false;
    const { rowCount } = await client.query('select 1 from litellm_rotate.lease where rotation is not null');
    return rowCount === 1;
  });
}

/** Another rotation of the target must be refused, with the first one's id in its failure. */
async function refusedSecond(lane: Lane, name: string, problems: string[]): Promise<void> {
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
  if (!refusal.includes(firstExecutionRunId))
    problems.push(`the second rotation was not refused: ${refusal}`);
}

/** What the next rotation would do by itself. */
async function reconcile(lane: Lane, target: string): Promise<string> {
  const workflowId = `reconcile-${target}`;
  const options = { args: [{ target }], taskQueue: 'litellm-rotate', workflowId };
  await lane.client.workflow.execute('ReconcileRotation', options).catch(() => undefined);
  return workflowId;
}

async function readPoints(directory: string): Promise<Passed[]> {
  const text = await readFile(join(directory, files.record), 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Passed);
}

async function cleanUp(lane: Lane, name: string): Promise<void> {
  await withClient(lane.postgres.adminUrl, (client) =>
    client.query(`drop database if exists "${name}" with (force)`),
  ).catch(() => undefined);
}
