import { execa } from 'execa';
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { onPath } from '../../lab/child.ts';
import { type Deployment, writeConfig } from '../../lab/deployment.ts';
import { startWorker, type WorkerProcess } from '../../lab/worker.ts';
import { root } from '../packaging/project.ts';
import { type HookedDeployment, hookService } from './hooked-service.ts';
import { type Lab, seed, startLab } from './lab.ts';
import { imageOf, journalRest, leftovers, modelsOf, rowsOf, valueIn } from './observation.ts';
import { atRest, until } from './rollback-lab.ts';

vi.setConfig({ testTimeout: 300_000 });

const programs = ['psql', 'jq', 'curl', 'shred'];
const missing = programs.filter((program) => onPath(program) === undefined);
if (missing.length > 0) console.log(`recovery by hand is not run: ${missing.join(', ')} not installed`);

const runbook = await readFile(join(root, 'docs/runbook.md'), 'utf8');
/** The commands of a step of "Recovery by hand", block by block. */
const commandsOf = (step: string): string[] => {
  const section = runbook.split(/^#+ /m).find((text) => text.startsWith(step)) ?? '';
  return Array.from(section.matchAll(/^```\w*\n(.*?)^```/gms), ([, block]) => block ?? '');
};

describe.skipIf(missing.length > 0)('docs/runbook.md, "Recovery by hand", as it stands', () => {
  let lab: Lab;
  let demo: Deployment;
  let hooks: HookedDeployment;
  let worker: WorkerProcess;
  let config: string;

  beforeAll(async () => {
    lab = await startLab();
    demo = await lab.deploy('demo');
    await demo.start();
    await seed(lab, demo);
    hooks = await hookService(demo);
    config = join(lab.directory, 'litellm-rotate.yaml');
    await writeConfig(config, [{ name: 'demo', target: { ...hooks.target, observe: '1s' } }]);
  }, 300_000);
  afterAll(() => lab?.stop());

  const runWorker = async () => {
    const { directory, temporal } = lab;
    worker = await startWorker({ directory, config, temporalAddress: temporal.address, env: demo.workerEnv });
  };

  /** A block of the runbook with this deployment's names in the place of the runbook's. */
  async function run(block: string, canary = ''): Promise<string> {
    const slot = join(dirname(demo.keyFile), '.litellm-rotate/slot.json');
    const names = [
      ['/root/.litellm-rotate/slot.json', slot],
      ['/root/slot-copy.json', join(lab.directory, 'slot-copy.json')],
      ['/root/.007', demo.keyFile],
      ['http://127.0.0.1:4000', demo.url],
      [
        'systemctl start litellm.service',
        `${demo.service.script} start ${demo.service.description} >/dev/null`,
      ],
      ['litellm-rotate-canary-000000000000', canary],
    ] as const;
    const { hostname, port, username, password, pathname } = new URL(demo.workerDatabaseUrl);
    const script = names.reduce((text, [from, to]) => text.replaceAll(from, to), block);
    const { stdout, exitCode, stderr } = await execa('bash', ['-c', `slot=${slot}\n${script}`], {
      cwd: root,
      env: {
        PGHOST: hostname,
        PGPORT: port,
        PGUSER: username,
        PGPASSWORD: password,
        PGDATABASE: pathname.slice(1),
      },
      reject: false,
    });
    expect(exitCode, `${script}\n${stderr}`).toBe(0);
    return stdout;
  }

  /** A rotation whose worker and Temporal are gone when values and files are on the new side, and LiteLLM is stopped. */
  async function leaveInTheMiddle(workflowId: string): Promise<void> {
    await runWorker();
    const reached = join(lab.directory, workflowId);
    await hooks.before('start', `touch ${reached}; while [ -e ${reached} ]; do sleep 0.2; done; exit 1`);
    await lab.cli('rotate', 'demo', '--detach', '--workflow-id', workflowId);
    await until('the start', () => Promise.resolve(existsSync(reached)));
    await worker.stop('SIGKILL');
    await lab.temporalCli('workflow', 'terminate', '--workflow-id', workflowId);
    await rm(reached);
  }

  async function cleanUp(models: readonly string[]): Promise<void> {
    const [removeCanary = '', closeBooks = ''] = commandsOf('7. Clean up');
    const canary = models.find(isCanary) ?? '';
    await run(removeCanary, canary);
    await run(closeBooks);
    expect(await leftovers(demo)).toEqual([]);
    expect(await journalRest(demo.databaseUrl)).toEqual(atRest);
    expect(existsSync(join(lab.directory, 'slot-copy.json'))).toBe(false);
    await runWorker();
    const { exitCode, stdout } = await lab.cli('plan', 'demo');
    expect(exitCode, stdout).toBe(0);
    await worker.stop();
  }

  const look = async () => ({ files: await imageOf(demo.keyFile), rows: await rowsOf(demo.databaseUrl) });
  const sides = async () => {
    const [before = '', after = ''] = (commandsOf('4. Look')[0] ?? '').split('\n');
    // What is on the other side fails, which is what is asked.
    const isOn = async (line: string) => !(await run(`${line}\ntrue`)).includes('FAILED');
    return { before: await isOn(before), after: await isOn(after) };
  };
  const journal = () =>
    run(`psql --no-psqlrc --csv --tuples-only <<'SQL'\n${commandsOf('3. Look')[0] ?? ''}SQL`);

  /** The models of the last step's look, with LiteLLM's own start in front of it. */
  const startAndLook = async () => (await run(commandsOf('6. Put')[1] ?? '')).trim().split('\n').sort();
  const isCanary = (name: string) => name.startsWith('litellm-rotate-canary-');
  const put = (side: 'before' | 'after') =>
    run((commandsOf('6. Put')[0] ?? '').replace('.after', `.${side}`));

  test('leads a rotation back, and another one forward', async () => {
    const before = await look();
    const previous = await valueIn(demo.keyFile, 'LITELLM_MASTER_KEY');
    const { models } = await modelsOf(demo.url, previous);

    await leaveInTheMiddle('back');
    await run(commandsOf('2. Keep')[0] ?? '');
    expect(await journal()).toMatch(/^[\w-]+,back,[^,]+,pending,[^,]+,t,\d+$/);
    expect(await sides()).toEqual({ before: false, after: true });
    await run(commandsOf('5. Decide')[1] ?? '');
    await put('before');
    expect(await sides()).toEqual({ before: true, after: false });
    let served = await startAndLook();
    expect(served.filter((name) => !isCanary(name))).toEqual(models);
    await cleanUp(served);
    expect(await look()).toEqual(before);

    await leaveInTheMiddle('forward');
    await run(commandsOf('2. Keep')[0] ?? '');
    // As if the worker had been killed between the two halves of the cutover.
    await put('before');
    expect(await sides()).toEqual({ before: true, after: false });
    await put('after');
    expect(await sides()).toEqual({ before: false, after: true });
    served = await startAndLook();
    expect(served.filter((name) => !isCanary(name))).toEqual(models);
    expect((await modelsOf(demo.url, previous)).status).toBe(401);
    await cleanUp(served);
  });
});
