import { execFileSync } from 'node:child_process';
import {
  appendFile,
  chown,
  lchown,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createCommandService, pidIn } from '../../src/services/command-service.ts';
import type { CommandServiceOptions } from '../../src/services/command-options.ts';
import { never, newestFence, staleFence } from './fences.ts';

const program = join(import.meta.dirname, 'fixtures/daemon.sh');
let directory: string;

const service = (options: Partial<CommandServiceOptions> = {}) =>
  createCommandService({
    start: [program, 'start', directory],
    stop: [program, 'stop', directory],
    status: [program, 'status', directory],
    log: join(directory, 'log'),
    ...options,
  });

const switchOn = (name: string) => writeFile(join(directory, name), '');
const pidFile = async () => Number(await readFile(join(directory, 'pid'), 'utf8'));
const writeKeys = (text: string) => writeFile(join(directory, 'keys.env'), text, { mode: 0o600 });
const pids: number[] = [];

// A zombie does not count: in a container, nobody may reap the daemon.
const isAlive = async (pid: number): Promise<boolean> =>
  await readFile(`/proc/${pid}/stat`, 'utf8').then(
    (stat) => !/\) [ZX] /.test(stat),
    () => false,
  );

describe('a service under commands of the user', () => {
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'command-service-'));
    await writeKeys('LITELLM_MASTER_KEY=sk-first\n');
  });

  afterEach(async () => {
    const last = await pidFile().catch(() => 0);
    // Each daemon leads a session of its own.
    for (const pid of [...pids.splice(0), last].filter((started) => started > 1)) {
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
    await rm(directory, { recursive: true, force: true });
  });

  test('starts, stops, and starts as another, although the daemon keeps the pipes of its starter', async () => {
    const daemon = service();
    const first = await daemon.start(newestFence(), never);
    const pid = await pidFile();
    expect(first).toEqual({
      state: 'running',
      detail: `running, pid ${pid}`,
      instance: expect.stringMatching(`^${pid}@\\d+$`),
    });

    expect(await daemon.stop(newestFence(), never)).toEqual({
      state: 'stopped',
      detail: 'stopped',
      instance: undefined,
    });
    expect(await isAlive(pid)).toBe(false);

    const second = await daemon.start(newestFence(), never);
    expect(second.instance).not.toBe(first.instance);
    expect(await daemon.observe()).toEqual(second);
  });

  test('does nothing when it runs already, or is stopped already', async () => {
    const daemon = service();
    const fence = newestFence();
    expect(await daemon.stop(fence, never)).toMatchObject({ state: 'stopped' });
    expect(fence.asked).toBe(0);
    const { instance } = await daemon.start(fence, never);
    expect(fence.asked).toBe(1);
    expect(await daemon.start(fence, never)).toMatchObject({ state: 'running', instance });
    expect(fence.asked).toBe(1);
  });

  test('is neither stopped nor started by an attempt that was overtaken', async () => {
    const daemon = service();
    await expect(daemon.start(staleFence, never)).rejects.toMatchObject({ type: 'FencedOut' });
    expect(await daemon.observe()).toMatchObject({ state: 'stopped' });
    await daemon.start(newestFence(), never);
    await expect(daemon.stop(staleFence, never)).rejects.toMatchObject({ type: 'FencedOut' });
    expect(await daemon.observe()).toMatchObject({ state: 'running' });
  });

  test('keeps what a failing start printed out of its error', async () => {
    await switchOn('refuse-start');
    const error = await service()
      .start(newestFence(), never)
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      type: 'ServiceFailed',
      message: `daemon.sh exited with 4; expected exit 0 and a running service; run it by hand to see what it says; its log is ${directory}/log`,
    });
    expect(error).not.toHaveProperty('cause');
    expect(JSON.stringify(error)).not.toContain('sk-secret');
  });

  test('ends a start that hangs, with its children', async () => {
    await switchOn('hang-start');
    await expect(service({ startTimeoutMs: 500 }).start(newestFence(), never)).rejects.toThrow(
      /did not end within 1 s/,
    );
    const reason = new Error('the activity was cancelled');
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 300);
    await expect(service().start(newestFence(), controller.signal)).rejects.toBe(reason);
    const commandLines = await processesNaming(directory);
    expect(commandLines).toEqual([]);
  });

  test('fails when the service falls over within a second', async () => {
    await switchOn('die-soon');
    await expect(service().start(newestFence(), never)).rejects.toThrow(
      /started and fell over: it was running, pid \d+, and a second later (stopped|.* which does not run); expected it to stay up/,
    );
  });

  test('is not stopped while its process ignores the stop, whatever the status program says', async () => {
    await switchOn('ignore-term');
    const daemon = service({ stopTimeoutMs: 700 });
    await daemon.start(newestFence(), never);
    const pid = await pidFile();
    pids.push(pid);
    await expect(daemon.stop(newestFence(), never)).rejects.toThrow(
      /processes of the service still run \(pid /,
    );
    expect(await isAlive(pid)).toBe(true);
  });

  test('is not stopped while a child of its process is left', async () => {
    await switchOn('orphan-child');
    const daemon = service({ stopTimeoutMs: 700 });
    await daemon.start(newestFence(), never);
    pids.push(await pidFile());
    await expect(daemon.stop(newestFence(), never)).rejects.toThrow(/1 processes of the service still run/);
  });

  test('is not stopped when the stop program fails', async () => {
    const daemon = service();
    await daemon.start(newestFence(), never);
    await switchOn('refuse-stop');
    await expect(daemon.stop(newestFence(), never)).rejects.toThrow(
      /daemon.sh exited with 5 and the service is running/,
    );
    expect(await daemon.observe()).toMatchObject({ state: 'running' });
  });

  test('does not take a status program that fails for a stopped service', async () => {
    await switchOn('break-status');
    expect(await service().observe()).toMatchObject({ state: 'failed', detail: 'daemon.sh exited with 1' });
    await expect(service({ stopTimeoutMs: 300 }).stop(newestFence(), never)).rejects.toThrow(
      /expected daemon.sh to exit with 3; correct the stop or the status program/,
    );
  });

  test('does not believe a pid file that outlived its process', async () => {
    await switchOn('trust-pid-file');
    await service().start(newestFence(), never);
    const pid = await pidFile();
    process.kill(-pid, 'SIGKILL');
    await sleep(100);
    expect(await service().observe()).toMatchObject({
      state: 'failed',
      detail: `daemon.sh exited with 0 and named pid ${pid}, which does not run`,
    });
  });

  test('tells which keys the process was given, and that a file was changed since', async () => {
    const daemon = service();
    await daemon.start(newestFence(), never);
    await writeKeys('LITELLM_MASTER_KEY=sk-second\n');
    const environment = await daemon.environment(['LITELLM_MASTER_KEY', 'LITELLM_SALT_KEY']);
    expect(environment.get('LITELLM_MASTER_KEY')).toMatchObject({ given: expect.anything() });
    const value = environment.get('LITELLM_MASTER_KEY');
    expect(typeof value === 'object' && value.given.reveal()).toBe('sk-first');
    expect(environment.get('LITELLM_SALT_KEY')).toBe('absent');

    await daemon.stop(newestFence(), never);
    expect((await daemon.environment(['LITELLM_MASTER_KEY'])).get('LITELLM_MASTER_KEY')).toBe('unknown');
  });

  test('hands nothing of our own environment to the service', async () => {
    process.env['LITELLM_SALT_KEY'] = 'sk-of-the-worker';
    try {
      const daemon = service({ environment: { GIVEN: 'yes' } });
      await daemon.start(newestFence(), never);
      const environment = await daemon.environment(['LITELLM_SALT_KEY', 'GIVEN', 'PATH']);
      expect(environment.get('LITELLM_SALT_KEY')).toBe('absent');
      expect(environment.get('GIVEN')).not.toBe('absent');
      expect(environment.get('PATH')).not.toBe('absent');
    } finally {
      delete process.env['LITELLM_SALT_KEY'];
    }
  });

  test('gives the log of the start that it made, and none for one that it did not see', async () => {
    const daemon = service();
    const first = await daemon.start(newestFence(), never);
    const firstPid = await pidFile();
    await daemon.stop(newestFence(), never);
    const second = await daemon.start(newestFence(), never);
    const secondPid = await pidFile();
    await appendFile(join(directory, 'log'), 'a\nb\n');
    expect(await daemon.log(second.instance ?? '', 10)).toEqual([`serving as ${secondPid}`, 'a', 'b']);
    expect(await daemon.log(second.instance ?? '', 1)).toEqual(['b']);
    expect((await daemon.log(first.instance ?? '', 10))?.[0]).toBe(`serving as ${firstPid}`);
    expect(await service().log(second.instance ?? '', 10)).toBeUndefined();
    // As logrotate does with copytruncate.
    await writeFile(join(directory, 'log'), 'c\n');
    expect(await daemon.log(second.instance ?? '', 10)).toEqual(['c']);
  });

  test('gives no log where something else than a file is in its place', async () => {
    const daemon = service();
    const { instance = '' } = await daemon.start(newestFence(), never);
    await rm(join(directory, 'log'));
    execFileSync('mkfifo', [join(directory, 'log')]);
    expect(await daemon.log(instance, 10)).toBeUndefined();
  });

  test.runIf(process.getuid?.() === 0)(
    'follows a link to the log that root has made, and not one of a user to a file of root',
    async () => {
      const [log, elsewhere] = [join(directory, 'log'), join(directory, 'elsewhere')];
      const daemon = service();
      const { instance = '' } = await daemon.start(newestFence(), never);
      const written = await daemon.log(instance, 10);
      await rename(log, elsewhere);
      await symlink(elsewhere, log);
      expect(await daemon.log(instance, 10)).toEqual(written);
      // As LiteLLM's user can, who owns the directory: what it says would be shown in the failure of a start.
      await lchown(log, 65_534, 65_534);
      expect(await daemon.log(instance, 10)).toBeUndefined();
      await chown(elsewhere, 65_534, 65_534);
      expect(await daemon.log(instance, 10)).toEqual(written);
    },
  );

  describe('before a rotation', () => {
    const codes = async (options: Partial<CommandServiceOptions> = {}) =>
      (await service(options).inspect()).findings.map(({ severity, code }) => `${severity} ${code}`);

    test('finds nothing wrong with a good service', async () => {
      await service().start(newestFence(), never);
      expect(await codes()).toEqual([]);
    });

    test('finds programs that cannot run, a missing directory, and a key in the configuration', async () => {
      expect(
        await codes({
          start: ['no-such-program'],
          stop: [directory],
          cwd: '/no/such/directory',
          environment: { LITELLM_MASTER_KEY: 'sk-in-the-configuration' },
        }),
      ).toEqual([
        'blocking command-not-runnable',
        'blocking command-not-runnable',
        'blocking command-directory-missing',
        'blocking key-in-configuration',
      ]);
    });

    test('finds a status program that cannot prove anything', async () => {
      await service().start(newestFence(), never);
      await switchOn('no-pid');
      expect(await codes()).toEqual(['warning status-without-pid']);
      await switchOn('break-status');
      expect(await codes()).toEqual(['blocking status-unusable']);
    });
  });

  test('refuses an empty command', () => {
    expect(() => service({ stop: [] })).toThrow(/expected start, stop and status as arrays/);
  });
});

test.for<[string, number | undefined]>([
  ['running 4711\n', 4711],
  ['litellm is up (pid 12)', 12],
  ['PID=12', 12],
  ['pid: 77 and more', 77],
  ['first\nrunning 4711', undefined],
  ['stupid 12', undefined],
  ['running 0', undefined],
  ['running 1', undefined],
  ['', undefined],
])('reads the pid in %j', ([output, pid]) => {
  expect(pidIn(output)).toBe(pid);
});

async function processesNaming(text: string): Promise<string[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    names.map((name) => readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')),
  );
  return lines.filter((line) => line.includes(text));
}
