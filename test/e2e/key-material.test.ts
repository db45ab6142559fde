import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Deployment, writeConfig } from '../../lab/deployment.ts';
import { withClient } from '../../lab/postgres.ts';
import { startWorker, type WorkerProcess } from '../../lab/worker.ts';
import { hookService, type HookedDeployment } from './hooked-service.ts';
import { filesBelow, findKeys, payloadsOf, type Searched, watchCommandLines } from './key-search.ts';
import { type Ended, type Lab, seed, startLab } from './lab.ts';
import { valueIn } from './observation.ts';

vi.setConfig({ testTimeout: 240_000 });

let lab: Lab;
let demo: Deployment;
let hooks: HookedDeployment;
let worker: WorkerProcess;
let temporalDatabase: string;

beforeAll(async () => {
  lab = await startLab({
    temporalFile: 'temporal.db',
    postgresSettings: { log_statement: 'ddl', log_min_messages: 'info' },
  });
  temporalDatabase = join(lab.directory, 'temporal.db');
  demo = await lab.deploy('demo');
  await demo.start();
  await seed(lab, demo);
  hooks = await hookService(demo);
  const config = join(lab.directory, 'litellm-rotate.yaml');
  await writeConfig(config, [{ name: 'demo', target: { ...hooks.target, observe: '1s' } }]);
  worker = await startWorker({
    directory: lab.directory,
    config,
    temporalAddress: lab.temporal.address,
    env: demo.workerEnv,
  });
});
afterAll(() => lab?.stop());

/** Runs a rotation while every command line is noted, and returns all that can be read afterwards. */
async function traces(
  workflowId: string,
): Promise<{ ended: Ended; searched: Searched[]; files: Searched[] }> {
  const watch = watchCommandLines();
  const ended = await lab.cli('rotate', 'demo', '--workflow-id', workflowId);
  const commandLines = await watch.stop();
  const status = await lab.cli('status', workflowId, '--json');
  const show = ['workflow', 'show', '--workflow-id', workflowId, '--output', 'json'];
  const { stdout: history } = await lab.temporalCli(...show);
  const { stdout: described } = await lab.temporalCli('workflow', 'describe', '--workflow-id', workflowId);
  const journal = await withClient(demo.databaseUrl, async (client) => {
    const { rows } = await client.query<{ text: string }>(
      `select query_to_xml(format('select * from litellm_rotate.%I', tablename), true, true, '')::text as text
       from pg_tables where schemaname = 'litellm_rotate'`,
    );
    return rows.map(({ text }): Searched => ['the journal', text]);
  });
  expect(commandLines.length).toBeGreaterThan(5);
  expect(JSON.parse(history)).toHaveProperty('events');
  expect(journal.length).toBeGreaterThan(5);
  return {
    ended,
    files: await filesBelow(demo.directory),
    searched: [
      ...commandLines,
      ...journal,
      ...payloadsOf(JSON.parse(history)),
      ['the history', history],
      ['temporal workflow describe', described],
      ['the output of rotate', `${ended.stdout}${ended.stderr}`],
      ['the output of status', `${status.stdout}${status.stderr}`],
      ["the worker's log", await readFile(worker.log)],
      ["the worker's environment", await readFile(`/proc/${worker.pid}/environ`)],
      ["the worker's configuration", await readFile(join(lab.directory, 'litellm-rotate.yaml'))],
      ["Postgres' log", await readFile(lab.postgres.log)],
      ["Temporal's log", await readFile(lab.temporal.log)],
      ...(await Promise.all(
        ['', '-wal'].map(async (suffix): Promise<Searched> => [
          "Temporal's database",
          await readFile(`${temporalDatabase}${suffix}`).catch(() => Buffer.alloc(0)),
        ]),
      )),
      ...(await temporaryFiles()),
    ],
  };
}

/** In the deployment's own files: LiteLLM logs the SHA-256 of each key that it refuses, and preflight and verify try some. */
const inFiles = (keys: Readonly<Record<string, string>>, files: Searched[]): string[] =>
  findKeys(keys, files).filter(
    (hit) => !(hit.startsWith(`${demo.service.log}: `) && hit.endsWith(', sha256')),
  );

/** What our processes may have left in the temporary directory; the deployment's own files are looked at apart. */
async function temporaryFiles(): Promise<Searched[]> {
  const own = [dirname(lab.temporal.log), lab.directory, join(tmpdir(), 'litellm-rotate')];
  const found = await Promise.all(own.map((directory) => filesBelow(directory).catch(() => [])));
  return found.flat().filter(([where]) => !where.startsWith(demo.directory));
}

const keysNow = async (when: string) => ({
  [`master key ${when}`]: await valueIn(demo.keyFile, 'LITELLM_MASTER_KEY'),
  [`salt key ${when}`]: await valueIn(demo.keyFile, 'LITELLM_SALT_KEY'),
});

describe('no key, old or new, stands anywhere but in the env files', () => {
  test('the search finds a key in each of its forms', () => {
    const key = 'sk-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG';
    const around = (text: string) => Buffer.from(`x${text}yz`);
    for (const bytes of [
      around(key),
      Buffer.from(around(key).toString('base64')),
      Buffer.from(around(key).toString('base64url')),
    ])
      expect(findKeys({ key }, [['here', bytes]])).not.toEqual([]);
    expect(findKeys({ key }, [['here', 'nothing']])).toEqual([]);
  });

  test('after a rotation', async () => {
    const previous = await keysNow('before');
    const { ended, searched, files } = await traces('rotated');
    expect(ended.exitCode, ended.stderr).toBe(0);
    const current = await keysNow('after');
    expect(new Set(Object.values({ ...previous, ...current })).size).toBe(4);
    expect(findKeys({ ...previous, ...current }, searched)).toEqual([]);
    expect(inFiles(previous, files)).toEqual([]);
    expect(inFiles(current, files)).toEqual([
      `${demo.keyFile}: master key after, plain`,
      `${demo.keyFile}: salt key after, plain`,
    ]);
  });

  test('after a rotation that was rolled back', async () => {
    const current = await keysNow('before and after');
    // The pending keys exist for a while only: right before the start they are in the key file.
    const stolen = join(lab.directory, 'stolen');
    await hooks.before('start', `cp ${demo.keyFile} ${stolen}; exit 1`);
    const { ended, searched, files } = await traces('rolled-back');
    expect(ended.exitCode, ended.stderr).toBe(3);
    const pending = {
      'pending master key': await valueIn(stolen, 'LITELLM_MASTER_KEY'),
      'pending salt key': await valueIn(stolen, 'LITELLM_SALT_KEY'),
    };
    expect(new Set(Object.values({ ...current, ...pending })).size).toBe(4);
    const elsewhere = searched.filter(([where]) => where !== stolen);
    expect(findKeys({ ...current, ...pending }, elsewhere)).toEqual([]);
    expect(inFiles(pending, files)).toEqual([]);
    expect(inFiles(current, files)).toEqual([
      `${demo.keyFile}: master key before and after, plain`,
      `${demo.keyFile}: salt key before and after, plain`,
    ]);
  });
});
