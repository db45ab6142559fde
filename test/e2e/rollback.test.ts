import { existsSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client as PostgresClient } from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type Deployment, writeConfig } from '../../lab/deployment.ts';
import { emptyConfig } from '../../lab/litellm/proxy.ts';
import { withClient } from '../../lab/postgres.ts';
import { startWorker } from '../../lab/worker.ts';
import type { RotationStatus } from '../../src/rotation/status.ts';
import { statusQuery } from '../../src/workflows/messages.ts';
import { hookService, type HookedDeployment } from './hooked-service.ts';
import { type Lab, type Seed, seedTemplate, startLab } from './lab.ts';
import { callModel, imageOf, journalRest, leftovers, modelsOf, rowsOf, valueIn } from './observation.ts';

// Most cases start LiteLLM once or twice: 10 s each on an idle machine, three times that on a busy one.
vi.setConfig({ testTimeout: 240_000 });

let lab: Lab;
let seed: Seed;
let demo: Deployment;
let hooks: HookedDeployment;
let runs = 0;

beforeAll(async () => {
  lab = await startLab();
  seed = await seedTemplate(lab);
  demo = await lab.deploy('demo', { template: 'seed', keys: seed.keys });
  await demo.start();
  hooks = await hookService(demo);
  const config = join(lab.directory, 'litellm-rotate.yaml');
  const database = { ...(demo.target['database'] as object), lockTimeout: '300ms' };
  const target = { ...hooks.target, database, observe: '8s', fenceTimeout: '2s' };
  await writeConfig(config, [{ name: 'demo', target }]);
  await startWorker({
    directory: lab.directory,
    config,
    temporalAddress: lab.temporal.address,
    env: demo.workerEnv,
  });
});
afterAll(() => lab.stop());

/** Everything that a rollback must bring back. */
async function look() {
  const { status, models } = await modelsOf(demo.url, seed.keys.master);
  return {
    keyFile: await imageOf(demo.keyFile),
    envFile: await imageOf(demo.envFile),
    rows: await rowsOf(demo.databaseUrl),
    serving: {
      status,
      models,
      call: await callModel(demo.url, seed.seeded.virtualKey),
      sent: lab.provider.keys.at(-1),
    },
    leftovers: await leftovers(demo),
  };
}

const ended = { lease: null, staged: 0 };
/** Everything is as before, but for the line that somebody else added to the key file. */
async function expectNothingButTheEdit(before: Awaited<ReturnType<typeof look>>): Promise<void> {
  const { keyFile, ...after } = await look();
  expect({ ...after, keyFile: keyFile.replace('ADDED=1\n', '') }).toEqual(before);
  expect(keyFile).toContain('ADDED=1\n');
  expect(await journalRest(demo.databaseUrl)).toEqual(ended);
}

const start = () => {
  const workflowId = `rollback-${(runs += 1)}`;
  return { workflowId, rotation: lab.cli('rotate', 'demo', '--workflow-id', workflowId) };
};
const statusOf = (workflowId: string): Promise<RotationStatus | undefined> =>
  lab.client.workflow
    .getHandle(workflowId)
    .query(statusQuery)
    .catch(() => undefined);

async function until<T>(what: string, find: () => Promise<T | undefined | false>): Promise<T> {
  for (const deadline = Date.now() + 150_000; Date.now() < deadline; await sleep(10)) {
    const found = await find();
    if (found !== undefined && found !== false) return found;
  }
  throw new Error(`it never came to this: ${what}`);
}

const untilStep = (workflowId: string, title: string) =>
  until(title, async () => (await statusOf(workflowId))?.steps.at(-1)?.title.startsWith(title) === true);

const sql = (text: string) => withClient(demo.databaseUrl, (client) => client.query(text));

describe('a rotation that fails ends on the previous keys, byte for byte, with LiteLLM serving', () => {
  test('in preflight, for a name that is emptied', async () => {
    await appendFile(demo.envFile, 'LITELLM_MASTER_KEY=\n');
    const before = await look();
    const { exitCode, stderr } = await start().rotation;
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`${demo.envFile}:4: found \`LITELLM_MASTER_KEY=\` without a value`);
    expect(stderr).toContain('nothing was changed');
    expect(await look()).toEqual(before);
    expect(await journalRest(demo.databaseUrl)).toEqual(ended);
    await writeFile(
      demo.envFile,
      (await readFile(demo.envFile, 'utf8')).replace('LITELLM_MASTER_KEY=\n', ''),
    );
  });

  test('in stage, for a table with sealed values and without a key that somebody makes meanwhile', async () => {
    const before = await look();
    await sql(`
      create function litellm_rotate.copy_models() returns trigger security definer language plpgsql as $$ begin
        create table public.models_backup as select * from public."LiteLLM_ProxyModelTable";
        grant select, update on public.models_backup to rotate_demo;
        return new;
      end $$;
      create trigger copy_models after update of plan on litellm_rotate.rotation
        execute function litellm_rotate.copy_models();`);
    const { exitCode, stderr } = await start().rotation;
    await sql(
      'drop trigger copy_models on litellm_rotate.rotation; drop function litellm_rotate.copy_models; drop table public.models_backup',
    );
    expect(stderr).toContain('sealed values were found in models_backup');
    expect(exitCode).toBe(3);
    expect(await look()).toEqual(before);
    expect(await journalRest(demo.databaseUrl)).toEqual(ended);
  });

  test('in stage, for a key file that somebody edits: the edit stays', async () => {
    const [before, text] = [await look(), await readFile(demo.keyFile, 'utf8')];
    const { rotation } = start();
    await until('a slot', async () => existsSync(join(demo.directory, '.litellm-rotate', 'slot.json')));
    await appendFile(demo.keyFile, 'ADDED=1\n');
    const { exitCode, stderr } = await rotation;
    expect(stderr).toContain(`${demo.keyFile}: found a change made since preflight`);
    expect(exitCode).toBe(3);
    await expectNothingButTheEdit(before);
    await writeFile(demo.keyFile, text);
  });

  test('in fence, for a stop that fails: LiteLLM was never gone', async () => {
    const before = await look();
    const pid = await readFile(demo.service.pidFile, 'utf8');
    await hooks.before('stop', 'exit 1');
    const { exitCode, stderr } = await start().rotation;
    expect(stderr).toContain('litellm-service exited with 1');
    expect(exitCode).toBe(3);
    expect(await look()).toEqual(before);
    expect(await readFile(demo.service.pidFile, 'utf8')).toBe(pid);
    expect(await journalRest(demo.databaseUrl)).toEqual(ended);
  });

  test("in fence, for another session of LiteLLM's database role", async () => {
    const before = await look();
    const other = new PostgresClient({ connectionString: lab.postgres.url('demo', 'litellm_demo') });
    await other.connect();
    const { exitCode, stderr } = await start().rotation;
    await other.end();
    expect(stderr).toContain('1 open session(s) of role litellm_demo');
    expect(exitCode).toBe(3);
    expect(await look()).toEqual(before);
    expect(await journalRest(demo.databaseUrl)).toEqual(ended);
  });

  test('in cutover, for a key file that somebody edited behind the fence: the edit stays', async () => {
    const [before, text] = [await look(), await readFile(demo.keyFile, 'utf8')];
    await hooks.before('stop', `echo ADDED=1 >> ${demo.keyFile}`);
    const { exitCode, stderr } = await start().rotation;
    expect(stderr).toContain(`${demo.keyFile}: found a change made since the pending keys were written`);
    expect(exitCode).toBe(3);
    await expectNothingButTheEdit(before);
    await writeFile(demo.keyFile, text);
  });

  test('in cutover, for a lock that another session holds', async () => {
    const before = await look();
    const other = new PostgresClient({
      connectionString: demo.databaseUrl,
      application_name: 'a long report',
    });
    await other.connect();
    await other.query('begin; lock table "LiteLLM_CredentialsTable" in row exclusive mode');
    const { exitCode, stderr } = await start().rotation;
    await other.end();
    expect(stderr).toMatch(
      /another session holds LiteLLM's tables: pid \d+ \(a long report, .*\) on LiteLLM_CredentialsTable/,
    );
    expect(exitCode).toBe(3);
    expect(await look()).toEqual(before);
    expect(await journalRest(demo.databaseUrl)).toEqual(ended);
  });

  test('in start, for a port that another program has taken', async () => {
    const before = await look();
    const [reached, go] = ['reached', 'go'].map((name) => join(lab.directory, name)) as [string, string];
    await hooks.before('start', `touch ${reached}; while [ ! -e ${go} ]; do sleep 0.05; done`);
    const { workflowId, rotation } = start();
    await until('a start', async () => existsSync(reached));
    const squatter = await listenOn(Number(new URL(demo.url).port));
    onTestFinished(() => void squatter.close());
    await writeFile(go, '');
    await untilStep(workflowId, 'UNDO');
    await new Promise((resolve) => squatter.close(resolve));
    const { exitCode, stderr } = await rotation;
    expect(stderr).toMatch(/expected the start of this rotation to stay up/);
    expect(stderr).toContain('address already in use');
    expect(exitCode).toBe(3);
    expect(await look()).toEqual(before);
    expect(await journalRest(demo.databaseUrl)).toEqual(ended);
  });

  test('in verify, for a LiteLLM that is killed while its log is watched', async () => {
    const before = await look();
    const { workflowId, rotation } = start();
    await untilStep(workflowId, "Watch the service's log");
    process.kill(-Number((await readFile(demo.service.pidFile, 'utf8')).split(' ')[0]), 'SIGKILL');
    const { exitCode, stderr } = await rotation;
    expect(stderr).toContain('expected the start of this rotation to stay up');
    expect(exitCode).toBe(3);
    expect(await look()).toEqual(before);
    expect(await journalRest(demo.databaseUrl)).toEqual(ended);
  });

  test('in verify, for a config.yaml that names the previous key', async () => {
    const before = await look();
    const config = join(demo.directory, 'service', 'config.yaml');
    await hooks.before(
      'start',
      `printf '%s\\n' '${emptyConfig.trimEnd()}' '  master_key: ${seed.keys.master}' > ${config}`,
    );
    const { exitCode, stderr } = await start().rotation;
    await writeFile(config, emptyConfig);
    expect(stderr).toContain('refuses the pending master key');
    expect(exitCode).toBe(3);
    expect(await look()).toEqual(before);
    expect(await journalRest(demo.databaseUrl)).toEqual(ended);
  });
});

describe('a rotation that cannot go back by itself keeps both keys and waits for a person', () => {
  test('after the cutover, for a key file that somebody edits: "rollback" goes on once the edit is undone', async () => {
    const before = await look();
    await hooks.before('start', `echo ADDED=1 >> ${demo.keyFile}; exit 1`);
    const { workflowId, rotation } = start();
    const { exitCode, stderr } = await rotation;
    expect(exitCode).toBe(4);
    expect(stderr).toContain(demo.keyFile);
    expect(stderr).toMatch(
      /Database: pending key\. Secret files: changed\. Service: stopped\. Both keys are kept\./,
    );
    expect(stderr).toContain(`temporal workflow update execute --name rollback --workflow-id ${workflowId}`);

    const edited = await readFile(demo.keyFile, 'utf8');
    await writeFile(demo.keyFile, edited.replace('ADDED=1\n', ''));
    const update = await lab.temporalCli(
      'workflow',
      'update',
      'execute',
      '--name',
      'rollback',
      '--workflow-id',
      workflowId,
    );
    expect(update.exitCode, update.stderr).toBe(0);
    const { exitCode: code } = await lab.cli('status', workflowId, '--follow');
    expect(code).toBe(3);
    expect(await look()).toEqual(before);
    expect(await journalRest(demo.databaseUrl)).toEqual(ended);
  });

  test('in finish, for a key file that somebody edits: there is no way back, and "resume" completes it', async () => {
    const before = await look();
    const { workflowId, rotation } = start();
    await untilStep(workflowId, "Watch the service's log");
    const written = await readFile(demo.keyFile, 'utf8');
    await appendFile(demo.keyFile, 'ADDED=1\n');
    const { exitCode, stderr } = await rotation;
    expect(exitCode).toBe(4);
    expect(stderr).toContain('the new keys are in force and verified; what remains failed');

    const update = (name: string) =>
      lab.temporalCli('workflow', 'update', 'execute', '--name', name, '--workflow-id', workflowId);
    const refused = await update('rollback');
    expect(refused.exitCode).not.toBe(0);
    expect(refused.stderr).toContain('the previous keys are destroyed, so there is no way back');
    await writeFile(demo.keyFile, written);
    expect((await update('resume')).exitCode).toBe(0);
    expect((await lab.cli('status', workflowId, '--follow')).exitCode).toBe(0);

    const key = await valueIn(demo.keyFile, 'LITELLM_MASTER_KEY');
    expect(await modelsOf(demo.url, key)).toEqual({ status: 200, models: before.serving.models });
    expect((await modelsOf(demo.url, seed.keys.master)).status).toBe(401);
    expect(await leftovers(demo)).toEqual([]);
    expect(await journalRest(demo.databaseUrl)).toEqual(ended);
  });
});

function listenOn(port: number): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    const attempt = () => server.listen(port, '127.0.0.1', () => resolve(server));
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') setTimeout(attempt, 20);
      else reject(error);
    });
    attempt();
  });
}
