import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createDeployment, type Deployment, masterNames, writeConfig } from '../../lab/deployment.ts';
import { isReady } from '../../lab/litellm/proxy.ts';
import { withClient } from '../../lab/postgres.ts';
import { canRunSystemd, startSystemdBox, type SystemdBox } from '../../lab/systemd-box.ts';
import { startWorker } from '../../lab/worker.ts';
import { type Lab, seed, startLab } from './lab.ts';
import { callModel, imageOf, journalRest, leftovers, modelsOf, rowsOf, valueIn } from './observation.ts';

vi.setConfig({ testTimeout: 240_000 });

const refusal = canRunSystemd();
if (refusal !== undefined) console.warn(`skipped: the starting case under a real systemd (${refusal})`);

const names = [...masterNames, 'LITELLM_SALT_KEY'];

/** The files as they were when the rotation was done by hand. */
const exported = (name: string, value: string) => `export ${name}="${value}"`;
const emptied = ['# loaded from ~/.007', ...names.map((name) => `${name}=`), ''].join('\n');

describe.skipIf(refusal !== undefined)('the starting case, under a real systemd', () => {
  let lab: Lab;
  let box: SystemdBox;
  let demo: Deployment;
  let before: { keyFile: string; envFile: string };

  beforeAll(async () => {
    lab = await startLab();
    const { postgres, directory } = lab;
    demo = await createDeployment({
      postgres,
      directory: join(directory, 'demo'),
      name: 'demo',
      line: exported,
    });
    await writeFile(demo.envFile, emptied, { flag: 'a' });
    box = await startSystemdBox({ units: systemdUnit(demo) });
    const config = join(directory, 'litellm-rotate.yaml');
    const secrets = {
      ...(demo.target['secrets'] as object),
      files: [
        { path: demo.keyFile, role: 'keys', reader: 'systemd' },
        { path: demo.envFile, role: 'copies', reader: 'systemd' },
      ],
    };
    await writeConfig(config, [
      {
        name: 'demo',
        target: { ...demo.target, secrets, service: { type: 'systemd', unit: 'litellm.service' } },
      },
    ]);
    await startWorker({
      directory,
      config,
      temporalAddress: lab.temporal.address,
      env: demo.workerEnv,
      launch: box.command('env'),
    });
  });
  afterAll(() => lab?.stop());

  const images = async () => ({ keyFile: await imageOf(demo.keyFile), envFile: await imageOf(demo.envFile) });
  const property = async (name: string) =>
    (await box.run('systemctl', ['show', '--value', `--property=${name}`, 'litellm.service'])).stdout;
  const starts = async () =>
    (await box.run('journalctl', ['-o', 'cat', '-u', 'litellm.service', '_PID=1'])).stdout
      .split('\n')
      .filter((line) => line.startsWith('Started ')).length;

  test.for(['plan', 'rotate'])(
    '%s refuses the files as they are, says what to change, and changes nothing',
    async (command) => {
      const [files, rows] = [await images(), await rowsOf(demo.databaseUrl)];
      const { exitCode, stderr } = await lab.cli(command, 'demo');
      expect(exitCode).toBe(1);
      expect(stderr).toContain('10 findings to mend first, nothing was changed');
      names.forEach((name, index) => {
        const [line, empty] = [index + 2, index + 5];
        expect(stderr).toContain(`${demo.keyFile}:${line}: found \`export ${name}=\`, which systemd ignores`);
        expect(stderr).toContain(`write line ${line} as ${name}=value`);
        expect(stderr).toContain(`${demo.envFile}:${empty}: found \`${name}=\` without a value, which wipes`);
        expect(stderr).toContain(`delete line ${empty}, or comment it out: #${name}=`);
      });
      expect(await images()).toEqual(files);
      expect(await rowsOf(demo.databaseUrl)).toEqual(rows);
      expect(await leftovers(demo)).toEqual([]);
      expect(await journalRest(demo.databaseUrl)).toEqual({ lease: null, staged: 0 });
    },
  );

  test('after the change, the keys are rotated with one restart, and every other byte is the same', async () => {
    await writeFile(demo.keyFile, (await readFile(demo.keyFile, 'utf8')).replaceAll(/^export /gm, ''));
    await writeFile(
      demo.envFile,
      (await readFile(demo.envFile, 'utf8')).replaceAll(/^(LITELLM_\w+)=$/gm, '#$1='),
    );
    before = await images();
    await box.exec('systemctl', ['start', 'litellm.service']);
    await untilReady(demo.url);
    const seeded = await seed(lab, demo);
    const served = await modelsOf(demo.url, demo.keys.master);
    const invocation = await property('InvocationID');
    expect(served.status).toBe(200);
    expect(served.models.length).toBeGreaterThan(5);
    expect(await starts()).toBe(1);

    const { exitCode, stderr } = await lab.cli('rotate', 'demo');
    expect(exitCode, stderr).toBe(0);

    const key = await valueIn(demo.keyFile, 'LITELLM_MASTER_KEY');
    const salt = await valueIn(demo.keyFile, 'LITELLM_SALT_KEY');
    expect(key).toMatch(/^sk-[0-9a-f]{64}$/);
    expect([demo.keys.master, demo.keys.salt]).not.toContain(key);
    expect([demo.keys.master, demo.keys.salt, key]).not.toContain(salt);
    const back = (text: string) =>
      text.replaceAll(key, demo.keys.master).replaceAll(salt, demo.keys.salt ?? '');
    const after = await images();
    expect(back(after.keyFile)).toBe(before.keyFile);
    expect(after.keyFile).not.toContain(demo.keys.master);
    expect(after.envFile).toBe(before.envFile);
    for (const name of masterNames) expect(await valueIn(demo.keyFile, name)).toBe(key);

    expect(await modelsOf(demo.url, key)).toEqual(served);
    expect((await modelsOf(demo.url, demo.keys.master)).status).toBe(401);
    expect(await callModel(demo.url, seeded.virtualKey)).toBe(200);
    expect(lab.provider.keys.at(-1)).toBe(seeded.providerKeys.direct);
    expect(await callModel(demo.url, seeded.virtualKey, 'm-provider-by-cred')).toBe(200);
    expect(lab.provider.keys.at(-1)).toBe(seeded.providerKeys.byCredential);

    expect(await property('InvocationID')).not.toBe(invocation);
    expect(await property('NRestarts')).toBe('0');
    expect(await starts()).toBe(2);
    expect(await leftovers(demo)).toEqual([]);
    expect(await journalRest(demo.databaseUrl)).toEqual({ lease: null, staged: 0 });
    expect(await canaries(demo.databaseUrl)).toBe(0);
  });
});

/** The service definition of the starting case: the key file first, the file beside the service after it. */
function systemdUnit({ service, keyFile, envFile }: Deployment): Record<string, string> {
  return {
    'litellm.service': `[Unit]
Description=LiteLLM proxy
[Service]
Type=exec
EnvironmentFile=${keyFile}
EnvironmentFile=${envFile}
Environment=PROXY_CONFIG_RELOAD_INTERVAL_SECONDS=5
ExecStart=${service.command('exec').join(' ')}
TimeoutStopSec=30
`,
  };
}

async function untilReady(url: string): Promise<void> {
  for (const deadline = Date.now() + 120_000; !(await isReady(url).catch(() => false)); await sleep(200)) {
    if (Date.now() > deadline) throw new Error('LiteLLM was not ready in 120 s');
  }
}

/** Models and keys in the database that a canary left. */
function canaries(databaseUrl: string): Promise<number> {
  return withClient(databaseUrl, async (client) => {
    const { rows } = await client.query<{ left: string }>(
      `select (select count(*) from "LiteLLM_ProxyModelTable" where model_name like '%canary%')
            + (select count(*) from "LiteLLM_VerificationToken" where coalesce(key_alias, '') like '%canary%') as left`,
    );
    return Number(rows[0]?.left);
  });
}
