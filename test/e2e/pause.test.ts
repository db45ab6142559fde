import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type Deployment, writeConfig } from '../../lab/deployment.ts';
import { withClient } from '../../lab/postgres.ts';
import { startWorker, type WorkerProcess } from '../../lab/worker.ts';
import { stagedRows } from '../reencryption/database.ts';
import { type Lab, startLab } from './lab.ts';
import { callModel, journalRest, modelsOf, valueIn } from './observation.ts';
import type { Serving } from './rollback-lab.ts';
import { deployStandIn } from './stand-in.ts';

vi.setConfig({ testTimeout: 120_000 });

let lab: Lab;
let serving: Serving;
let demo: Deployment;
beforeAll(async () => {
  lab = await startLab();
  serving = await deployStandIn(lab, 'demo');
  demo = serving.deployment;
});
afterAll(() => lab.stop());

const staged = () => withClient(demo.databaseUrl, stagedRows);

/** A worker whose stage is as slow as is said. */
async function worker(throttle: number): Promise<WorkerProcess> {
  const config = join(lab.directory, `throttle-${throttle}.yaml`);
  const database = { ...(demo.target['database'] as object), throttle };
  await writeConfig(config, [{ name: 'demo', target: { ...demo.target, database, observe: '1s' } }]);
  return startWorker({
    directory: lab.directory,
    config,
    temporalAddress: lab.temporal.address,
    env: demo.workerEnv,
  });
}

/** Stores a model as an administrator does. */
async function addModel(name: string): Promise<number> {
  const answer = await fetch(`${demo.url}/model/new`, {
    method: 'POST',
    headers: { authorization: `Bearer ${serving.master}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model_name: name,
      litellm_params: { model: `openai/${name}`, api_key: 'sk-added', api_base: lab.provider.url },
      model_info: { id: name },
    }),
  });
  return answer.status;
}

test('a rotation that is paused in stage serves on, stays paused when its worker is killed, and is continued to its end', async () => {
  // What a worker leaves that was frozen while its rotation was rolled back.
  expect(await addModel('litellm-rotate-canary-000000000000')).toBe(200);
  const first = await worker(2);
  const workflow = 'paused';
  expect(await lab.cli('rotate', 'demo', '--detach', '--workflow-id', workflow)).toMatchObject({
    exitCode: 0,
  });
  await expect
    .poll(async () => (await staged().catch(() => [])).length, { timeout: 60_000 })
    .toBeGreaterThan(0);
  const running = await lab.cli('status', workflow);
  expect(running.stdout).toMatch(/… Re-encrypt \d+ values/);

  expect(await lab.cli('pause', workflow)).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining('litellm-rotate continue paused'),
  });
  const before = await staged();
  expect(await lab.cli('pause', workflow)).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('paused: the rotation is paused already'),
  });
  expect(await callModel(demo.url, serving.virtualKey, serving.model)).toBe(200);
  // A pause may last for days, in which people work with LiteLLM.
  expect(await addModel('added-in-the-pause')).toBe(200);

  await first.stop('SIGKILL');
  await worker(1_000_000);
  const paused = await lab.cli('status', workflow);
  expect(paused).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('demo: paused, phase stage') });
  expect(paused.stdout).toMatch(/paused at \d+ of \d+ values; go on with: litellm-rotate continue paused/);
  expect((await lab.cli('status')).stdout).toMatch(/demo +paused +stage/);
  await sleep(1_000);
  expect(await staged()).toEqual(before);
  expect(await modelsOf(demo.url, serving.master)).toMatchObject({ status: 200 });

  expect(await lab.cli('continue', workflow)).toMatchObject({ exitCode: 0 });
  const { exitCode, stdout } = await lab.cli('status', workflow, '--follow');
  expect(stdout).toContain('re-encrypted');
  expect(exitCode).toBe(0);
  expect(await lab.cli('continue', workflow)).toMatchObject({ exitCode: 2 });
  const master = await valueIn(demo.keyFile, 'LITELLM_MASTER_KEY');
  expect(master).not.toBe(serving.master);
  expect(await modelsOf(demo.url, master)).toMatchObject({
    status: 200,
    models: expect.arrayContaining(['added-in-the-pause']) as string[],
  });
  expect(await callModel(demo.url, serving.virtualKey, serving.model)).toBe(200);
  expect(await journalRest(demo.databaseUrl)).toEqual({ lease: null, staged: 0 });

  const { stdout: plan } = await lab.cli('plan', 'demo');
  expect(plan).toMatch(/outage +about \d+ s: a restart of LiteLLM \([\d.]+ s, as in the rotation of 20/);
});
