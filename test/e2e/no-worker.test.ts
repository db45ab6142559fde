import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTemporal, type Temporal } from '../../lab/temporal.ts';
import { cliPath } from '../../lab/worker.ts';

/** Temporal without a worker, as after a reboot of the host that has it. */
let temporal: Temporal;
beforeAll(async () => {
  temporal = await startTemporal();
}, 120_000);
afterAll(() => temporal?.stop());

async function cli(args: readonly string[], env: NodeJS.ProcessEnv = {}, interruptAt?: RegExp) {
  const child = execa(process.execPath, [cliPath, ...args], {
    env: { TEMPORAL_ADDRESS: temporal.address, ...env },
    reject: false,
  });
  let [shown, interrupted] = ['', false];
  child.stderr.on('data', (data) => {
    shown += String(data);
    if (!interrupted && interruptAt?.test(shown) === true) interrupted = child.kill('SIGINT');
  });
  const { exitCode, stdout, stderr } = await child;
  return { exitCode, stdout, stderr };
}

test('a rotation that no worker has taken says so, in the list and by itself', async () => {
  await cli(['rotate', 'prod', '--detach', '--workflow-id', 'untaken']);
  expect((await cli(['status'])).stdout).toMatch(/- +running +- +untaken/);
  for (const args of [
    ['status', 'untaken'],
    ['status', 'untaken', '--json'],
  ]) {
    const { exitCode, stdout, stderr } = await cli(args);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toContain('workflow untaken: found no worker that answers for it');
  }
}, 120_000);

test('what others have written is shown, and obeyed by no terminal', async () => {
  const workflowId = 'cleared\u001B[2J\u009B2J\u202E';
  await cli(['rotate', 'prod', '--detach', '--workflow-id', workflowId]);
  for (const args of [['status'], ['status', workflowId]]) {
    const { stdout, stderr } = await cli(args);
    const shown = stdout + stderr;
    expect(shown).toContain(String.raw`cleared\u001b[2J\u009b2J\u202e`);
    expect(shown).not.toMatch(/[^\P{C}\n]/u);
  }
}, 120_000);

test.for([['inventory'], ['reconcile'], ['plan']] as const)(
  '%s says that it waits, until Ctrl-C',
  { timeout: 120_000 },
  async ([command]) => {
    const { exitCode, stderr } = await cli([command, 'prod'], {}, /waiting for a worker on the task queue/);
    expect(stderr).toMatch(/^litellm-rotate: .* prod: workflow /);
    expect(stderr).toContain('no longer following');
    expect(exitCode).toBe(130);
  },
);

test.for([[['status']], [['plan', 'prod']], [['schedule', 'list']]] as const)(
  '%j in a namespace that there is not ends with 2',
  { timeout: 120_000 },
  async ([args]) => {
    const { exitCode, stdout, stderr } = await cli(args, { TEMPORAL_NAMESPACE: 'nope' });
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain(
      'found no namespace nope; expected one that is there; correct TEMPORAL_NAMESPACE',
    );
  },
);
