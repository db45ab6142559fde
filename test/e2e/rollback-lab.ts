import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { freePort } from '../../lab/child.ts';
import { type Deployment, writeConfig } from '../../lab/deployment.ts';
import { withClient } from '../../lab/postgres.ts';
import { startWorker } from '../../lab/worker.ts';
import type { RotationStatus } from '../../src/rotation/status.ts';
import { statusQuery } from '../../src/workflows/messages.ts';
import { hookService, type HookedDeployment } from './hooked-service.ts';
import { type Ended, type Lab, startLab } from './lab.ts';
import { callModel, imageOf, journalRest, leftovers, modelsOf, rowsOf } from './observation.ts';

/** A deployment that runs, with values stored in it. */
export interface Serving {
  readonly deployment: Deployment;
  readonly master: string;
  /** A virtual key that may call `model`, whose provider is the lab's. */
  readonly virtualKey: string;
  readonly model: string;
}

/** Everything that a rollback must bring back. */
export interface Look {
  readonly keyFile: string;
  readonly envFile: string;
  readonly rows: Record<string, string[]>;
  readonly serving: {
    readonly status: number;
    readonly models: readonly string[];
    /** The status of a call through a stored model, and the key that its provider was sent. */
    readonly call: number;
    readonly sent: string | undefined;
  };
  readonly leftovers: string[];
}

/** A deployment whose rotations can be made to fail at an exact moment, and a worker that watches long enough for it. */
export interface RollbackLab {
  readonly lab: Lab;
  readonly demo: Deployment;
  readonly master: string;
  readonly hooks: HookedDeployment;
  /** Where the worker's metrics are read. */
  readonly metricsUrl: string;
  look(): Promise<Look>;
  /** Nothing of a rotation is left, and everything is as it was. */
  expectRestored(before: Look): Promise<void>;
  /** The same, but for the line `ADDED=1` that somebody else put into the key file. */
  expectNothingButTheEdit(before: Look): Promise<void>;
  start(): { readonly workflowId: string; readonly rotation: Promise<Ended> };
  /** Waits until a rotation is at a step. */
  untilStep(workflowId: string, title: string): Promise<void>;
  /** `temporal workflow update execute` by the plain CLI. */
  update(workflowId: string, name: 'resume' | 'rollback'): Promise<Ended>;
  sql(text: string): Promise<unknown>;
}

/** Starts the lab, what `serve` makes in it, and a worker. */
export async function startRollbackLab(serve: (lab: Lab) => Promise<Serving>): Promise<RollbackLab> {
  const lab = await startLab();
  const { deployment: demo, master, virtualKey, model } = await serve(lab);
  const hooks = await hookService(demo);
  const config = join(lab.directory, 'litellm-rotate.yaml');
  const database = { ...(demo.target['database'] as object), lockTimeout: '300ms' };
  const target = { ...hooks.target, database, observe: '8s', fenceTimeout: '2s' };
  const metrics = `127.0.0.1:${await freePort()}`;
  await writeConfig(config, [{ name: 'demo', target }], { metrics });
  await startWorker({
    directory: lab.directory,
    config,
    temporalAddress: lab.temporal.address,
    env: demo.workerEnv,
  });

  const look = async (): Promise<Look> => {
    const { status, models } = await modelsOf(demo.url, master);
    const call = await callModel(demo.url, virtualKey, model);
    return {
      keyFile: await imageOf(demo.keyFile),
      envFile: await imageOf(demo.envFile),
      rows: await rowsOf(demo.databaseUrl),
      serving: { status, models, call, sent: lab.provider.keys.at(-1) },
      leftovers: await leftovers(demo),
    };
  };
  const statusOf = (workflowId: string): Promise<RotationStatus | undefined> =>
    lab.client.workflow
      .getHandle(workflowId)
      .query(statusQuery)
      .catch(() => undefined);

  let runs = 0;
  return {
    lab,
    demo,
    master,
    hooks,
    metricsUrl: `http://${metrics}/metrics`,
    look,
    async expectRestored(before) {
      expect(await look()).toEqual(before);
      expect(await journalRest(demo.databaseUrl)).toEqual(atRest);
    },
    async expectNothingButTheEdit(before) {
      const { keyFile, ...after } = await look();
      expect({ ...after, keyFile: keyFile.replace('ADDED=1\n', '') }).toEqual(before);
      expect(keyFile).toContain('ADDED=1\n');
      expect(await journalRest(demo.databaseUrl)).toEqual(atRest);
    },
    start() {
      const workflowId = `rollback-${(runs += 1)}`;
      return { workflowId, rotation: lab.cli('rotate', 'demo', '--workflow-id', workflowId) };
    },
    untilStep: (workflowId, title) =>
      until(title, async () => (await statusOf(workflowId))?.steps.at(-1)?.title.startsWith(title) === true),
    update: (workflowId, name) =>
      lab.temporalCli('workflow', 'update', 'execute', '--name', name, '--workflow-id', workflowId),
    sql: (text) => withClient(demo.databaseUrl, (client) => client.query(text)),
  };
}

/** What our journal holds when no rotation is under way. */
export const atRest = { lease: null, staged: 0 };

/** Waits for something to come true. */
export async function until(what: string, find: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 150_000; Date.now() < deadline; await sleep(10)) {
    if (await find()) return;
  }
  throw new Error(`it never came to this: ${what}`);
}
