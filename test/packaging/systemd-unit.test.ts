import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { onPath } from '../../lab/child.ts';
import { canRunSystemd, startSystemdBox, type SystemdBox } from '../../lab/systemd-box.ts';
import { startTemporal, type Temporal } from '../../lab/temporal.ts';
import { root, scratchDirectory } from './project.ts';

const name = 'litellm-rotate-worker.service';
const unit = await readFile(join(root, 'packaging', name), 'utf8');
const program = '/usr/local/bin/litellm-rotate';
/** The drop-in of the README, for key files in /root itself. */
const edit = /^\[Service\]\n[^`]*/m.exec(await readFile(join(root, 'README.md'), 'utf8'))?.[0] ?? '';

test('the unit passes systemd-analyze verify without a remark', async (context) => {
  if (onPath('systemd-analyze') === undefined) context.skip('systemd-analyze is not installed');
  const path = join(await scratchDirectory(), name);
  // verify looks for the program, too.
  await writeFile(path, unit.replace(program, '/usr/bin/env'));
  const { exitCode, all } = await execa('systemd-analyze', ['verify', path], { all: true, reject: false });
  const remarks = (all ?? '').split('\n').filter((line) => line.includes('litellm-rotate'));
  expect(remarks).toEqual([]);
  expect(exitCode).toBe(0);
});

const why = canRunSystemd();
if (why !== undefined) console.log(`${name} is not run: ${why}`);

/** LiteLLM's place: a unit of another user, with the keys in its environment. */
const service = `[Service]
Type=exec
User=nobody
EnvironmentFile=/srv/litellm/keys.env
ExecStart=/bin/sh -c 'echo serving; exec sleep infinity'
`;

/** What the worker does to a host, by its own adapters. */
const probe = `
import { createEnvFileStore } from ${JSON.stringify(join(root, 'src/secret-stores/env-file/store.ts'))};
import { createSystemdService } from ${JSON.stringify(join(root, 'src/services/systemd-service.ts'))};
import { Secret } from ${JSON.stringify(join(root, 'src/rotation/secret.ts'))};
const fence = { rotation: 'r', token: 1, assert: () => Promise.resolve() };
const { signal } = new AbortController();
const path = '/srv/litellm/keys.env';
const service = createSystemdService({ unit: 'litellm.service', scope: 'system', envFiles: [path] });
const store = createEnvFileStore({
  files: [{ path, role: 'keys', reader: 'systemd' }],
  names: { master: ['LITELLM_MASTER_KEY'], salt: ['LITELLM_SALT_KEY'] },
});
const blocking = ({ findings }) => findings.filter(({ severity }) => severity === 'blocking').map(({ code }) => code);
const report = { service: blocking(await service.inspect()), store: blocking(await store.inspect()) };
const next = new Secret('sk-' + 'b'.repeat(43));
await store.prepare('r', fence, () => ({ master: next, salt: next }));
await service.stop(fence, signal);
await store.promote('r', fence);
const { instance } = await service.start(fence, signal);
const given = (await service.environment(['LITELLM_MASTER_KEY'])).get('LITELLM_MASTER_KEY');
report.given = typeof given === 'object' && given.given.reveal() === next.reveal();
report.log = ((await service.log(instance, 20)) ?? []).some((line) => line.includes('serving'));
await store.discard('r', fence, 'pending');
console.log('REPORT ' + JSON.stringify(report));
`;

describe.skipIf(why !== undefined)('the unit, on a real systemd', () => {
  let box: SystemdBox;
  let temporal: Temporal;
  beforeAll(async () => {
    temporal = await startTemporal();
    const node = process.execPath;
    const here = unit.replaceAll('/etc/litellm', '/srv/litellm');
    // The unit sees neither /tmp nor, with another hardening, a home: where the program is installed is shown to it.
    const installed = `[Service]\nBindReadOnlyPaths=${root} ${dirname(dirname(node))}\n`;
    box = await startSystemdBox({
      // Not in /run: systemd 252 leaves it writable under ProtectSystem=strict in a box.
      tmpfs: ['/srv'],
      units: {
        'litellm.service': service,
        [name]: here.replace(program, `${node} ${join(root, 'src/cli.ts')}`),
        [`${name}.d/installed.conf`]: installed,
        'probe.service': here
          .replace(`${program} worker`, `${node} /srv/litellm-rotate/probe.mts`)
          .replace('Type=exec', 'Type=oneshot')
          .replace(/^Restart=.*$/m, ''),
        'probe.service.d/installed.conf': installed,
        'home.service': here
          .replace(`${program} worker`, '/usr/bin/test -w /root')
          .replace('Type=exec', 'Type=oneshot')
          .replace(/^Restart=.*$/m, ''),
        'home.service.d/edit.conf': edit.replace('/opt', '/srv'),
      },
    });
    const put = (path: string, text: string, mode: string) =>
      box.run('sh', [
        '-c',
        'mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1" && chmod "$3" "$1"',
        'sh',
        path,
        text,
        mode,
      ]);
    const keys = `LITELLM_MASTER_KEY=sk-${'a'.repeat(43)}\nLITELLM_SALT_KEY=sk-${'c'.repeat(43)}\n`;
    await put('/srv/litellm/keys.env', keys, '0600');
    await put('/srv/litellm/litellm.env', 'STORE_MODEL_IN_DB=True\n', '0600');
    // Of another owner than the worker: a rotation must give it back.
    await box.run('chown', ['nobody', '/srv/litellm/keys.env']);
    const example = await readFile(join(root, 'packaging/litellm-rotate.yaml.example'), 'utf8');
    await put('/srv/litellm-rotate/config.yaml', example.replaceAll('/etc/litellm', '/srv/litellm'), '0600');
    const env = await readFile(join(root, 'packaging/litellm-rotate.env.example'), 'utf8');
    const settings = env.replace(/^TEMPORAL_ADDRESS=.*$/m, `TEMPORAL_ADDRESS=${temporal.address}`);
    await put('/srv/litellm-rotate/worker.env', settings, '0600');
    await put('/srv/litellm-rotate/probe.mts', probe, '0600');
  }, 600_000);
  afterAll(async () => {
    await box.stop();
    await temporal.stop();
  }, 60_000);

  const journal = async (of: string): Promise<string> => {
    await box.run('journalctl', ['--sync']);
    return (await box.run('journalctl', ['-o', 'cat', '-u', of])).stdout;
  };
  const show = async (of: string, property: string): Promise<string> =>
    (await box.run('systemctl', ['show', of, '-p', property, '--value'])).stdout;

  test('runs the worker, hardened, with the examples of configuration and environment', async () => {
    const { exitCode } = await box.run('systemctl', ['start', name]);
    expect(exitCode).toBe(0);
    await expect.poll(() => journal(name), { timeout: 60_000, interval: 500 }).toContain('"worker ready"');
    expect(await show(name, 'NRestarts')).toBe('0');
  });

  test('ends the worker in order on a stop', async () => {
    await box.run('systemctl', ['stop', name]);
    expect(await journal(name)).toContain('"worker stopped"');
    expect(await show(name, 'Result')).toBe('success');
  });

  test('lets the worker stop, rewrite, start and prove: nothing of a rotation is hardened away', async () => {
    expect((await box.run('systemctl', ['start', 'litellm.service'])).exitCode).toBe(0);
    const before = await show('litellm.service', 'InvocationID');
    const { exitCode } = await box.run('systemctl', ['start', 'probe.service']);
    const log = await journal('probe.service');
    expect(exitCode, log).toBe(0);
    const report: unknown = JSON.parse(/^REPORT (.*)$/m.exec(log)?.[1] ?? 'null');
    expect(report).toEqual({ service: [], store: [], given: true, log: true });
    expect(await show('litellm.service', 'InvocationID')).not.toBe(before);
    const owner = await box.run('stat', ['-c', '%U %a', '/srv/litellm/keys.env']);
    expect(owner.stdout).toBe('nobody 600');
  });

  test('lets the worker write in /root, with the edit that the README gives for it', async () => {
    const { exitCode, stderr } = await box.run('systemctl', ['start', 'home.service']);
    expect(exitCode, stderr).toBe(0);
  });

  test('keeps the rest of the machine, its own configuration included, read-only for the worker', async () => {
    const paths = ['/etc/of-mine', '/usr/bin/of-mine', '/root/of-mine', '/srv/litellm-rotate/of-mine'];
    const script = `
import { rmSync, writeFileSync } from 'node:fs';
const outcome = (path) => {
  try { writeFileSync(path, ''); rmSync(path); return 'written'; } catch (error) { return error.code; }
};
console.log('REPORT ' + JSON.stringify(${JSON.stringify(paths)}.map(outcome)));`;
    await box.run('sh', ['-c', 'printf %s "$1" >/srv/litellm-rotate/probe.mts', 'sh', script]);
    await box.run('systemctl', ['start', 'probe.service']);
    const reports = Array.from(
      (await journal('probe.service')).matchAll(/^REPORT (.*)$/gm),
      ([, text]) => text,
    );
    expect(JSON.parse(reports.at(-1) ?? 'null')).toEqual(paths.map(() => 'EROFS'));
  });
});
