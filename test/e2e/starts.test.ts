import { WorkflowFailedError } from '@temporalio/client';
import { execa } from 'execa';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Deployment, writeConfig } from '../../lab/deployment.ts';
import { withClient } from '../../lab/postgres.ts';
import { cliPath, startWorker } from '../../lab/worker.ts';
import { createValueCipher } from '../../src/litellm/cipher.ts';
import type { ValueInventory } from '../../src/rotation/inventory.ts';
import type { Plan } from '../../src/rotation/plan.ts';
import type { ReencryptionResult } from '../../src/rotation/reencryption.ts';
import { Secret } from '../../src/rotation/secret.ts';
import type { RotationResult } from '../../src/rotation/status.ts';
import { type Lab, startLab } from './lab.ts';
import { deployStandIn } from './stand-in.ts';
import { imageOf, journalRest, modelsOf, valueIn } from './observation.ts';

vi.setConfig({ testTimeout: 240_000 });

let lab: Lab;
/** With a salt key, and a stand-in for LiteLLM: what is started here is the rotation. */
let demo: Deployment;
/** LiteLLM itself, without a salt key: its master key seals. */
let plain: Deployment;

beforeAll(async () => {
  lab = await startLab();
  const startPlain = async () => {
    plain = await lab.deploy('plain', { withSalt: false });
    await plain.start();
  };
  [{ deployment: demo }] = await Promise.all([deployStandIn(lab, 'demo'), startPlain()]);
  const config = join(lab.directory, 'litellm-rotate.yaml');
  const database = { ...(demo.target['database'] as object), schema: 'nosuch' };
  const elsewhere = { name: 'elsewhere', target: { ...demo.target, database } };
  await writeConfig(
    config,
    [demo, plain, elsewhere].map(({ name, target }) => ({ name, target: { ...target, observe: '1s' } })),
  );
  await startWorker({
    directory: lab.directory,
    config,
    temporalAddress: lab.temporal.address,
    env: { ...demo.workerEnv, ...plain.workerEnv },
  });
});
afterAll(() => lab?.stop());

const keyOf = ({ keyFile }: Deployment) => valueIn(keyFile, 'LITELLM_MASTER_KEY');

/** Runs `work` and expects that the deployment has a new master key afterwards, and that the one before is refused. */
async function expectRotated(deployment: Deployment, work: () => Promise<void>): Promise<void> {
  const previous = await keyOf(deployment);
  await work();
  const current = await keyOf(deployment);
  expect(current).not.toBe(previous);
  expect((await modelsOf(deployment.url, current)).status).toBe(200);
  expect((await modelsOf(deployment.url, previous)).status).toBe(401);
}

const named = ['--type', 'RotateMasterKey', '--task-queue', 'litellm-rotate'];
const startPlainly = (workflowId: string, ...input: string[]) =>
  lab.temporalCli('workflow', 'start', ...named, '--workflow-id', workflowId, ...input);

/** The result of a workflow, or why it failed. */
async function outcomeOf(workflowId: string): Promise<{ result: RotationResult } | { failure: string }> {
  try {
    return { result: (await lab.client.workflow.getHandle(workflowId).result()) as RotationResult };
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    return { failure: error.cause?.message ?? error.message };
  }
}

describe('the command line', () => {
  test('plan shows what would happen, as text and as JSON, and changes nothing', async () => {
    const before = await imageOf(demo.keyFile);
    const text = await lab.cli('plan', 'demo');
    expect(text.exitCode).toBe(0);
    expect(text.stdout).toContain('plan for demo: re-encrypt the stored values from the current salt key');
    const json = await lab.cli('plan', 'demo', '--json');
    expect(json.exitCode).toBe(0);
    expect((JSON.parse(json.stdout) as { plan: Plan }).plan).toMatchObject({
      target: 'demo',
      blocked: false,
      rotationCase: { rotate: ['master', 'salt'] },
    });
    expect(await imageOf(demo.keyFile)).toBe(before);
    expect(await journalRest(demo.databaseUrl)).toEqual({ lease: null, staged: 0 });
  });

  test('inventory counts what plan counts, lists the rows without any key in clear, and takes no lease', async () => {
    const { plan } = JSON.parse((await lab.cli('plan', 'demo', '--json')).stdout) as { plan: Plan };
    const found = await lab.cli('inventory', 'demo', '--rows', '--json');
    expect(found.exitCode, found.stderr).toBe(0);
    const inventory = JSON.parse(found.stdout) as ValueInventory;
    expect(inventory.lines).toEqual(plan.database.lines);
    const total = (of: readonly { values: number }[]) => of.reduce((sum, { values }) => sum + values, 0);
    expect(total(inventory.listed ?? [])).toBe(total(inventory.lines));
    expect(inventory.listed).toContainEqual(expect.objectContaining({ row: 'credential_id=credential-7' }));
    const text = await lab.cli('inventory', 'demo');
    expect(text.stdout).toContain(`${plan.database.values} sealed values in`);
    expect(text.stdout).toMatch(/LiteLLM_CredentialsTable\.credential_values +\d+ +v2 +salt key/);
    expect(text.stdout).toMatch(/skipped .*request log/);
    expect(text.stdout).not.toContain('credential-7');
    const workflow = /workflow (\S+)/.exec(text.stderr)?.[1] ?? '';
    const status = await lab.cli('status', workflow);
    expect(status).toMatchObject({ exitCode: 0, stderr: '' });
    expect(status.stdout).toContain(text.stdout);
    expect(await journalRest(demo.databaseUrl)).toEqual({ lease: null, staged: 0 });
  });

  test('reencrypt seals anew under the same key, once a person has approved the plan of a repair', async () => {
    const key = new Secret(await valueIn(demo.keyFile, 'LITELLM_SALT_KEY'));
    const cipher = createValueCipher(key);
    const shape = { format: 'legacy', marker: '', alphabet: 'urlsafe' } as const;
    const twice = cipher.seal(Buffer.from(cipher.seal(Buffer.from('PLAIN-twice'), shape)), shape);
    await withClient(demo.databaseUrl, (client) =>
      client.query(
        `insert into "LiteLLM_CredentialsTable" (credential_id, credential_name, credential_values, created_by, updated_by)
         values ('sealed-twice', 'sealed-twice', $1, 'test', 'test')`,
        [JSON.stringify({ api_key: twice })],
      ),
    );
    const files = await imageOf(demo.keyFile);
    const asked = ['reencrypt', 'demo', '--upgrade-format', 'v2', '--repair-sealed-twice'];
    const text = await lab.cli(...asked, '--dry-run');
    expect(text.exitCode, text.stderr).toBe(0);
    expect(text.stdout).toMatch(
      /credential_values +credential_id=sealed-twice +1 +legacy +salt key over salt key/,
    );
    const found = await lab.cli(...asked, '--dry-run', '--json');
    const { plan } = JSON.parse(found.stdout) as ReencryptionResult;
    expect(text.stdout).toContain(`--plan ${plan.digest}`);
    expect(plan.formats.legacy).toBeGreaterThan(0);

    const other = await lab.cli(...asked, '--plan', 'f'.repeat(64));
    expect(other.exitCode).toBe(1);
    expect(other.stderr).toContain(`found a plan with the digest ${plan.digest}`);
    const unread = await lab.cli('reencrypt', 'demo', '--upgrade-format', 'v3');
    expect(unread.exitCode).toBe(1);
    expect(unread.stderr).toContain('add it to proxy.readsFormats of demo');

    const done = await lab.cli(...asked, '--plan', plan.digest, '--json');
    expect(done.exitCode, done.stderr).toBe(0);
    expect(JSON.parse(done.stdout)).toMatchObject({
      outcome: 'reencrypted',
      done: { values: plan.values },
      remaining: { values: 0, formats: { legacy: 0 } },
    });
    const [row] = await withClient(demo.databaseUrl, async (client) => {
      const { rows } = await client.query<{ value: string }>(
        `select credential_values->>'api_key' as value from "LiteLLM_CredentialsTable" where credential_id = 'sealed-twice'`,
      );
      return rows;
    });
    expect(cipher.open(row?.value ?? '')).toMatchObject({
      format: 'v2',
      plaintext: Buffer.from('PLAIN-twice'),
    });
    expect(await imageOf(demo.keyFile)).toBe(files);
    expect(await journalRest(demo.databaseUrl)).toEqual({ lease: null, staged: 0 });
    const [, workflowId = ''] = /workflow (\S+)/.exec(done.stderr) ?? [];
    const status = await lab.cli('status', workflowId, '--follow');
    expect(status.exitCode, status.stderr).toBe(0);
    expect(status.stdout).toContain('demo re-encrypted');
  });

  test.for([
    [
      ['inventory', 'nosuch'],
      'found no target "nosuch" in the worker\'s configuration; expected one of demo, plain, elsewhere',
    ],
    [
      ['rotate', 'nosuch'],
      'found no target "nosuch" in the worker\'s configuration; expected one of demo, plain, elsewhere',
    ],
    [['rotate', 'plain', '--keys', 'salt'], 'nothing to rotate: the salt key was asked for'],
    [['reencrypt', 'nosuch', '--upgrade-format', 'v2'], 'found no target "nosuch"'],
    [['reencrypt', 'demo'], 'so there is nothing to do'],
    [['rotate', 'demo', '--keys', 'pepper'], 'expected master, salt, or both'],
    [['rotate'], "missing required argument 'target'"],
    [['status', 'nosuch'], 'workflow nosuch: found none of that id'],
    [['schedule', 'create', 'demo', '--every', 'soon'], 'expected a length of time such as 90d'],
    [['schedule', 'trigger', 'nosuch'], 'schedule rotate-nosuch: found none'],
  ] as const)('%j is refused with exit code 2 and one sentence', async ([args, sentence]) => {
    const { exitCode, stderr } = await lab.cli(...args);
    expect(stderr).toContain(sentence);
    expect(exitCode).toBe(2);
  });

  test.for([
    ['inventory', 'elsewhere'],
    ['reencrypt', 'elsewhere', '--upgrade-format', 'v2'],
    ['reencrypt', 'elsewhere', '--upgrade-format', 'v2', '--dry-run'],
  ])('%j in a schema without LiteLLM is a finding, not nothing to do', async (args) => {
    const { exitCode, stdout, stderr } = await lab.cli(...args);
    expect(stderr).toContain("found no table of LiteLLM's in schema nosuch");
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
  });

  test('status shows a reconciliation, and says of a workflow of others that it is none of ours', async () => {
    const reconciled = await lab.cli('reconcile', 'demo');
    expect(reconciled).toMatchObject({ exitCode: 0, stdout: 'demo: nothing to reconcile' });
    const status = await lab.cli('status', 'reconcile-demo');
    expect(status).toMatchObject({ exitCode: 0, stderr: '' });
    expect(status.stdout).toContain(reconciled.stdout);
    await lab.client.workflow.start('BakeCake', { taskQueue: 'kitchen', workflowId: 'cake' });
    for (const follow of [[], ['--follow']]) {
      expect(await lab.cli('status', 'cake', ...follow)).toMatchObject({
        exitCode: 2,
        stdout: '',
        stderr: expect.stringMatching(/^litellm-rotate: error: workflow cake: found a BakeCake/) as string,
      });
    }
  });

  test('--detach prints the id, and status follows it', async () => {
    const started = await lab.cli('rotate', 'demo', '--dry-run', '--detach', '--json');
    expect(started.exitCode).toBe(0);
    const { workflowId } = JSON.parse(started.stdout) as { workflowId: string };
    const followed = await lab.cli('status', workflowId, '--follow');
    expect(followed.exitCode, followed.stderr).toBe(0);
    expect(followed.stdout).toContain('plan for demo');
    expect(followed.stderr).toContain('✓ Find every sealed value in the database');
    const status = await lab.cli('status', workflowId, '--json');
    expect(JSON.parse(status.stdout)).toMatchObject({ target: 'demo', outcome: 'planned', phase: 'done' });
    const list = JSON.parse((await lab.cli('status', '--json')).stdout) as { workflowId: string }[];
    expect(list.map((line) => line.workflowId)).toContain(workflowId);
  });

  test('without a server, says so with exit code 2', async () => {
    const { exitCode, stderr } = await execa(process.execPath, [cliPath, 'plan', 'demo'], {
      env: { ...lab.env, TEMPORAL_ADDRESS: '127.0.0.1:9' },
      extendEnv: false,
      reject: false,
    });
    expect(stderr).toContain('Temporal at 127.0.0.1:9: found no server');
    expect(exitCode).toBe(2);
  });

  test('a worker whose metrics cannot be served where the configuration says refuses to start, with exit code 2', async () => {
    const config = join(lab.directory, 'metrics.yaml');
    const taken = lab.temporal.address;
    await writeConfig(config, [demo], { metrics: taken });
    const { exitCode, stderr } = await lab.cli('worker', '--config', config);
    expect(stderr).toContain(`metrics: found that ${taken} cannot be listened on`);
    expect(exitCode).toBe(2);
  });

  test('Ctrl-C stops following, a second rotation is refused, and the first goes on to its end', async () => {
    await expectRotated(demo, async () => {
      const following = execa(
        process.execPath,
        [cliPath, 'rotate', 'demo', '--workflow-id', 'first', '--reason', 'TICKET-1'],
        { env: lab.env, extendEnv: false, reject: false },
      );
      let shown = '';
      following.stderr.on('data', (chunk: Buffer) => (shown += chunk.toString()));
      await until(async () => shown.includes('Generate the pending master and salt key') || undefined);
      following.kill('SIGINT');
      const left = await following;
      expect(left.exitCode).toBe(130);
      expect(left.stderr).toContain('no longer following; the rotation goes on');

      const second = await lab.cli('rotate', 'demo');
      expect(second.exitCode).toBe(1);
      expect(second.stderr).toMatch(
        /found rotation .* of target demo at work since .*"litellm-rotate status first"/,
      );
      const same = await lab.cli('rotate', 'demo', '--workflow-id', 'first');
      expect(same.exitCode).toBe(1);
      expect(same.stderr).toContain('workflow first: found it running already');

      const followed = await lab.cli('status', 'first', '--follow');
      expect(followed.exitCode, followed.stderr).toBe(0);
      expect(followed.stdout).toContain('demo rotated: re-encrypt');
    });
    expect(await outcomeOf('first')).toMatchObject({ result: { outcome: 'rotated', reason: 'TICKET-1' } });
  });
});

describe('the plain temporal CLI, and schedules', () => {
  test('a workflow started plainly and a schedule that is triggered rotate two targets at once', async () => {
    const before = Date.now();
    const created = await lab.cli('schedule', 'create', 'plain', '--every', '90d', '--keys', 'master');
    expect(created.exitCode, created.stderr).toBe(0);
    const first = Date.parse(/the first rotation is at (\S+)/.exec(created.stdout)?.[1] ?? '');
    const days = (first - before) / 86_400_000;
    expect(days).toBeGreaterThan(89.9);
    expect(days).toBeLessThan(90.1);
    expect((await lab.cli('schedule', 'create', 'plain', '--every', '90d')).exitCode).toBe(1);

    await expectRotated(demo, () =>
      expectRotated(plain, async () => {
        const started = await startPlainly('plainly', '--input', '{"target":"demo"}');
        expect(started.exitCode, started.stderr).toBe(0);
        expect((await lab.cli('schedule', 'trigger', 'plain')).exitCode).toBe(0);
        const scheduled = await until(async () => {
          const list = JSON.parse((await lab.cli('schedule', 'list', '--json')).stdout) as { last: string }[];
          return list.find(({ last }) => last !== '-')?.last;
        });
        const [one, other] = await Promise.all([
          outcomeOf('plainly'),
          lab.cli('status', scheduled, '--follow'),
        ]);
        expect(one).toMatchObject({ result: { outcome: 'rotated' } });
        expect(other.exitCode, other.stderr).toBe(0);
        expect(await outcomeOf(scheduled)).toMatchObject({
          result: { requestedBy: 'schedule' },
        });
      }),
    );
    expect((await lab.cli('schedule', 'delete', 'plain')).exitCode).toBe(0);
    expect((await lab.cli('schedule', 'list')).stdout).toContain('no schedule yet');
  });

  test('a schedule made by the plain CLI starts it too', async () => {
    const created = await lab.temporalCli(
      'schedule',
      'create',
      '--schedule-id',
      'by-hand',
      '--interval',
      '90d',
      '--workflow-id',
      'by-hand',
      ...named,
      '--input',
      '{"target":"demo","dryRun":true,"requestedBy":"by hand"}',
    );
    expect(created.exitCode, created.stderr).toBe(0);
    expect((await lab.temporalCli('schedule', 'trigger', '--schedule-id', 'by-hand')).exitCode).toBe(0);
    const workflowId = await until(async () => {
      const list = JSON.parse((await lab.cli('schedule', 'list', '--json')).stdout) as { last: string }[];
      return list.find(({ last }) => last.startsWith('by-hand'))?.last;
    });
    expect(await outcomeOf(workflowId)).toMatchObject({
      result: { outcome: 'planned', requestedBy: 'by hand' },
    });
  });
});

describe('an input that makes no sense fails the workflow at once, with one sentence', () => {
  test.for([
    ['an unknown target', ['--input', '{"target":"nosuch"}'], /found no target "nosuch"/],
    ['an unknown field', ['--input', '{"target":"demo","kyes":["salt"]}'], /unknown field "kyes"/],
    ['no keys', ['--input', '{"target":"demo","keys":[]}'], /"keys" is empty, so there is nothing to rotate/],
    ['no input', [], /found 0 arguments/],
    ['two inputs', ['--input', '{"target":"demo"}', '--input', '1'], /found 2 arguments/],
    ['a JSON text', ['--input', '"demo"'], /found a string, expected a JSON object/],
    [
      'bytes',
      ['--input-meta', 'encoding=binary/plain', '--input', 'target=demo'],
      /found bytes that are not JSON/,
    ],
    [
      'an unknown encoding',
      ['--input-meta', 'encoding=text/yaml', '--input', 'target: demo'],
      /found bytes that are not JSON/,
    ],
  ] as [string, string[], RegExp][])('%s', async ([name, input, sentence]) => {
    const workflowId = `wrong-${name.replaceAll(' ', '-')}`;
    const started = await startPlainly(workflowId, '--execution-timeout', '20s', ...input);
    expect(started.exitCode, started.stderr).toBe(0);
    const outcome = await outcomeOf(workflowId);
    expect(outcome).toEqual({ failure: expect.stringMatching(sentence) });
    expect(JSON.stringify(outcome)).not.toContain('\\n');
  });

  test('a payload of a program that says it is JSON and is not', async () => {
    await lab.client.workflowService.startWorkflowExecution({
      namespace: 'default',
      requestId: 'wrong-payload',
      workflowId: 'wrong-payload',
      workflowType: { name: 'RotateMasterKey' },
      taskQueue: { name: 'litellm-rotate' },
      input: {
        payloads: [{ metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from('target: demo') }],
      },
    });
    expect(await outcomeOf('wrong-payload')).toEqual({
      failure: expect.stringContaining('found bytes that are not JSON'),
    });
  });

  test('a text that is not JSON is refused by the temporal CLI itself', async () => {
    const { exitCode, stderr } = await startPlainly('wrong-text', '--input', 'target: demo');
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('not valid JSON');
  });
});

async function until<T>(find: () => Promise<T | undefined>): Promise<T> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await sleep(200)) {
    const found = await find();
    if (found !== undefined) return found;
  }
  throw new Error('it was not found in 30 s');
}
