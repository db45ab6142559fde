import { chmod, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { freePort } from '../../lab/child.ts';
import { type Deployment, writeConfig } from '../../lab/deployment.ts';
import { describeLiteLLMService } from '../../lab/litellm/service.ts';
import { withClient } from '../../lab/postgres.ts';
import type { Seeded } from '../../lab/litellm/seed.ts';
import { startWorker, type WorkerProcess } from '../../lab/worker.ts';
import type { RotationResult } from '../../src/rotation/status.ts';
import { type Lab, seed, startLab } from './lab.ts';
import { callModel, imageOf, journalRest, leftovers, modelsOf, rowsOf, valueIn } from './observation.ts';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 });

let lab: Lab;
let demo: Deployment;
let seeded: Seeded;
let worker: WorkerProcess;
/** What rehearsal.start runs. */
let program: string;
let spareCommand: string;

const newWorker = () =>
  startWorker({
    directory: lab.directory,
    config: join(lab.directory, 'litellm-rotate.yaml'),
    temporalAddress: lab.temporal.address,
    env: demo.workerEnv,
  });

beforeAll(async () => {
  lab = await startLab();
  demo = await lab.deploy('demo');
  await demo.start();
  seeded = await seed(lab, demo);
  await withClient(lab.postgres.adminUrl, (client) => client.query('alter role rotate_demo createdb'));

  const port = await freePort();
  const spare = await describeLiteLLMService({
    directory: join(demo.directory, 'spare'),
    envFiles: [],
    port,
    extraEnv: { PROXY_CONFIG_RELOAD_INTERVAL_SECONDS: '5' },
  });
  spareCommand = spare.command('exec').join(' ');
  program = join(demo.directory, 'start-spare');
  const rehearsal = { start: [program, '{port}'], port, readyTimeout: '60s' };
  await writeConfig(join(lab.directory, 'litellm-rotate.yaml'), [
    { name: 'demo', target: { ...demo.target, rehearsal } },
  ]);
  await startsSpare('');
  worker = await newWorker();
});
afterAll(() => lab?.stop());

/** Makes the program: some lines of bash, and then LiteLLM. */
async function startsSpare(before: string): Promise<void> {
  await writeFile(program, `#!/bin/bash\n${before}\nexec ${spareCommand}\n`);
  await chmod(program, 0o755);
}

const look = async () => ({
  keyFile: await imageOf(demo.keyFile),
  envFile: await imageOf(demo.envFile),
  rows: await rowsOf(demo.databaseUrl),
  models: await modelsOf(demo.url, demo.keys.master),
  call: await callModel(demo.url, seeded.virtualKey),
  process: await readFile(demo.service.pidFile, 'utf8'),
  leftovers: await leftovers(demo),
});

/** Nothing of a rehearsal is left: no database, no process. */
async function expectNoRehearsal(): Promise<void> {
  const names = await withClient(lab.postgres.adminUrl, async (client) => {
    const { rows } = await client.query<{ datname: string }>(
      `select datname from pg_database where datname like 'litellm_rotate_rehearsal%'`,
    );
    return rows;
  });
  expect(names).toEqual([]);
  expect(await spares()).toEqual([]);
}

/** The deployment is as it was, and nothing of the rotation is left. */
async function expectUntouched(before: Awaited<ReturnType<typeof look>>): Promise<void> {
  await expectNoRehearsal();
  expect(await look()).toEqual(before);
  expect(await journalRest(demo.databaseUrl)).toEqual({ lease: null, staged: 0 });
}

async function spares(): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    const rehearses = environment.includes('LITELLM_ROTATE_REHEARSAL=');
    if (rehearses && environment.includes(`:${lab.postgres.port}/`)) found.push(pid);
  }
  return found;
}

test.for([
  [
    'does not start',
    'echo "cannot start with $LITELLM_MASTER_KEY on $DATABASE_URL"; exit 1',
    /found that the LiteLLM of the rehearsal exited with 1[^]+cannot start with \[secret\] on postgresql:\/\/rotate_demo:\[secret\]@/,
  ],
  [
    'refuses the new master key',
    'export LITELLM_MASTER_KEY=sk-another-key-of-the-configuration',
    /found that it refuses the pending master key/,
  ],
  [
    'opens nothing, as its salt key is another',
    'export LITELLM_SALT_KEY=sk-another-salt-of-the-configuration',
    /found \d+ decryption errors in the output of the rehearsal's LiteLLM, expected none/,
  ],
  [
    "is led to the service's own database",
    'set -a; . ENV_FILE; set +a',
    /no session of LiteLLM's on the clone, so it is connected to another database/,
  ],
] as const)('a rehearsal whose LiteLLM %s costs nothing', async ([, script, message]) => {
  await startsSpare(script.replace('ENV_FILE', demo.envFile));
  const before = await look();
  const { exitCode, stderr } = await lab.cli('rotate', 'demo', '--rehearse');
  expect(stderr).toMatch(message);
  expect(exitCode).toBe(1);
  expect(stderr).toContain('rotation of demo refused');
  await expectUntouched(before);
});

test('a rehearsal that is cancelled while LiteLLM runs on the clone leaves neither', async () => {
  await startsSpare('');
  const before = await look();
  await lab.cli('rotate', 'demo', '--rehearse', '--detach', '--workflow-id', 'cancelled');
  await expect.poll(async () => (await spares()).length, { timeout: 60_000 }).toBeGreaterThan(0);
  const handle = lab.client.workflow.getHandle('cancelled');
  await handle.cancel();
  await expect(handle.result()).rejects.toThrow();
  await expectUntouched(before);
});

test('a rotation is rehearsed on a clone, whose worker is killed in the middle, and then done', async () => {
  await startsSpare('');
  const before = await look();
  const rotation = lab.cli('rotate', 'demo', '--rehearse', '--json', '--workflow-id', 'rehearsed');
  await expect.poll(async () => (await spares()).length, { timeout: 60_000 }).toBeGreaterThan(0);
  const [orphan] = await spares();
  await worker.stop('SIGKILL');
  expect(await spares()).toContain(orphan);
  expect(await readFile(demo.service.pidFile, 'utf8')).toBe(before.process);
  worker = await newWorker();

  const { exitCode, stdout, stderr } = await rotation;
  expect(exitCode, stderr).toBe(0);
  await expectNoRehearsal();
  const { rehearsal, reencrypted, outageMs } = JSON.parse(stdout) as RotationResult;
  expect(rehearsal).toMatchObject({ clone: 'dump' });
  // The canary is stored after the clone was made: its values are the difference.
  expect(rehearsal?.values).toBeGreaterThan(10);
  expect(rehearsal?.values).toBeLessThan(reencrypted?.values ?? 0);
  for (const ms of [rehearsal?.cloneMs, rehearsal?.swapMs, rehearsal?.startMs, rehearsal?.stopMs])
    expect(ms).toBeGreaterThan(0);
  expect(outageMs).toBeGreaterThan(0);

  const master = await valueIn(demo.keyFile, 'LITELLM_MASTER_KEY');
  expect(master).not.toBe(demo.keys.master);
  expect(await modelsOf(demo.url, master)).toEqual(before.models);
  expect(await callModel(demo.url, seeded.virtualKey)).toBe(200);
  expect(await leftovers(demo)).toEqual([]);
  expect(await journalRest(demo.databaseUrl)).toEqual({ lease: null, staged: 0 });
  const shown = await lab.cli('status', 'rehearsed', '--follow');
  expect(shown.stderr + shown.stdout).toMatch(/Rotate the clone: \d+ values in \d+ rows, stage/);
  expect(shown.stdout).toMatch(
    /rehearsal {3}\d+ values on a clone \(by dump, [\d.]+ s\); stage [\d.]+ s, stop [\d.]+ s, swap [\d.]+ s, start [\d.]+ s/,
  );

  for (const secret of [master, await valueIn(demo.keyFile, 'LITELLM_SALT_KEY'), demo.keys.master]) {
    expect(await readFile(worker.log, 'utf8')).not.toContain(secret);
    const history = await lab.temporalCli(
      'workflow',
      'show',
      '--workflow-id',
      'rehearsed',
      '--output',
      'json',
    );
    expect(history.stdout).toContain('proveClone');
    expect(history.stdout).not.toContain(secret);
  }
});
