import { spawn } from 'node:child_process';
import { readFileSync, existsSync } from 'node:fs';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { freePort } from '../../lab/child.ts';
import { canRunSystemd, startSystemdBox } from '../../lab/systemd-box.ts';
import type { SystemdBox } from '../../lab/systemd-box.ts';
import { createSystemdService } from '../../src/services/systemd-service.ts';
import type { SystemdServiceOptions } from '../../src/services/systemd-service.ts';
import type { Host } from '../../src/services/host.ts';
import type { GivenValue } from '../../src/services/port.ts';
import { boxHost, readFileIn } from './box-host.ts';
import { never, newestFence, staleFence } from './fences.ts';
import { units, userUnits } from './units.ts';

const why = canRunSystemd();
if (why !== undefined) console.log(`systemd tests are skipped: ${why}`);

const busDaemon = '/usr/bin/dbus-daemon';
const masterKey = 'sk-the-key-in-the-file';
let directory: string;
let box: SystemdBox;
let host: Host;

const service = (unit: string, options: Partial<SystemdServiceOptions> = {}) =>
  createSystemdService({ unit, scope: 'system', host, ...options });

const inBox = async (command: string): Promise<string> => {
  const { stdout } = await host.run('sh', ['-c', command], { timeoutMs: 20_000 });
  return stdout.trim();
};
const show = (unit: string, property: string) => inBox(`systemctl show --value -p ${property} ${unit}`);

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    if (await condition()) return;
    await sleep(50);
  }
  throw new Error('it did not happen within 5 s');
}

/** Lets a unit that waits for a file go on. */
const letIt = (file: 'may-start' | 'may-stop') => writeFile(join(directory, file), '');

const given = (value: GivenValue | undefined) =>
  typeof value === 'object' ? { given: value.given.reveal() } : value;

describe.skipIf(why !== undefined)('a service under systemd', () => {
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'systemd-service-'));
    await writeFile(join(directory, 'keys.env'), `LITELLM_MASTER_KEY=${masterKey}\n`, { mode: 0o600 });
    await writeFile(join(directory, 'exported.env'), `export LITELLM_MASTER_KEY=${masterKey}\n`, {
      mode: 0o600,
    });
    await writeFile(join(directory, 'first.env'), '');
    await writeFile(join(directory, 'second.env'), '');
    await writeFile(join(directory, 'later.env'), '');
    await symlink('first.env', join(directory, 'link.env'));
    box = await startSystemdBox({ units: { ...scratchUnits(), ...dbusUnits() }, userUnits });
    host = boxHost(box);
    await inBox('ln -s /dev/null /etc/systemd/system/masked.service');
  });

  beforeEach(async () => {
    for (const file of ['may-start', 'may-stop']) await rm(join(directory, file), { force: true });
  });

  afterAll(async () => {
    await box?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  test('starts, names this start, stops, and starts as another', async () => {
    const plain = service('plain');
    const fence = newestFence();
    const first = await plain.start(fence, never);
    expect(first).toMatchObject({ state: 'running', instance: await show('plain', 'InvocationID') });
    expect(first.detail).toMatch(/^active \(running\), pid \d+, since \d{4}-\d\d-\d\dT[\d:]{8}Z$/);
    const pid = await show('plain', 'MainPID');

    expect(await plain.stop(fence, never)).toEqual({
      state: 'stopped',
      instance: undefined,
      detail: 'inactive (dead)',
    });
    expect(await inBox(`kill -0 ${pid} 2>&1 && echo alive`)).not.toContain('alive');
    expect(await plain.observe()).toMatchObject({ state: 'stopped', instance: undefined });

    const second = await plain.start(fence, never);
    expect(second.instance).not.toBe(first.instance);
    expect(await plain.observe()).toEqual(second);
  });

  test('does nothing when it runs already, or is stopped already', async () => {
    const plain = service('plain');
    const { instance } = await plain.start(newestFence(), never);
    const again = newestFence();
    expect(await plain.start(again, never)).toMatchObject({ state: 'running', instance });
    expect(again.asked).toBe(0);

    await plain.stop(newestFence(), never);
    expect(await plain.stop(again, never)).toMatchObject({ state: 'stopped' });
    expect(again.asked).toBe(0);
  });

  test('is neither stopped nor started by an attempt that was overtaken', async () => {
    const plain = service('plain');
    await plain.stop(newestFence(), never);
    await expect(plain.start(staleFence, never)).rejects.toMatchObject({ type: 'FencedOut' });
    expect(await show('plain', 'ActiveState')).toBe('inactive');
    await plain.start(newestFence(), never);
    await expect(plain.stop(staleFence, never)).rejects.toMatchObject({ type: 'FencedOut' });
    expect(await show('plain', 'ActiveState')).toBe('active');
  });

  test.for<[string, RegExp]>([
    ['simple-exits', /exited with 3, which is how LiteLLM refuses to boot/],
    ['exits-soon', /started and fell over: it is failed .* exited with 1/],
    ['no-program', /203\/EXEC/],
    ['no-program-exec', /203\/EXEC/],
    ['no-user', /217\/USER/],
    ['no-file', /most often an EnvironmentFile= that does not exist/],
    ['pre-fails', /a command before or after its main process failed/],
    ['never-ready', /within its timeout \(Result=timeout\)/],
    ['killed', /killed by signal 9/],
    ['loops', /fell over: .*(exited with 1|systemd has restarted it by itself)/],
  ])('says why %s is not up', async ([unit, reason]) => {
    const failing = service(unit);
    const error = await failing.start(newestFence(), never).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ name: 'RotationError', type: 'ServiceFailed' });
    expect(String(error)).toMatch(reason);
    expect(String(error)).toMatch(
      /expected .*active \(running\); read `journalctl _SYSTEMD_INVOCATION_ID=[0-9a-f]{32}`/,
    );
    await failing.stop(newestFence(), never);
  });

  test('takes one attempt to start, not a loop', async () => {
    const before = Number(
      await inBox('journalctl --sync; journalctl -q -u exits-soon -o cat | grep -c Starting'),
    );
    await service('exits-soon')
      .start(newestFence(), never)
      .catch(() => undefined);
    const after = Number(
      await inBox('journalctl --sync; journalctl -q -u exits-soon -o cat | grep -c Starting'),
    );
    expect(after - before).toBe(1);
  });

  test('stays stopped although Restart=always would bring it back', async () => {
    const returns = service('returns');
    await returns.start(newestFence(), never);
    const pid = await show('returns', 'MainPID');
    await inBox(`kill -9 ${pid}`);
    await until(async () => !['0', pid].includes(await show('returns', 'MainPID')));
    await returns.stop(newestFence(), never);
    await sleep(400);
    expect(await returns.observe()).toMatchObject({ state: 'stopped' });
  });

  test('stops a unit that is between two automatic restarts', async () => {
    const loops = service('loops');
    await inBox('systemctl start loops');
    await until(async () => (await show('loops', 'SubState')) === 'auto-restart');
    expect(await loops.observe()).toMatchObject({ state: 'failed' });
    await loops.stop(newestFence(), never);
    await sleep(400);
    expect(await show('loops', 'MainPID')).toBe('0');
  });

  test('comes up although the start limit was hit', async () => {
    await inBox('for i in 1 2 3; do systemctl restart limited; done');
    expect(await show('limited', 'Result')).toBe('start-limit-hit');
    const limited = service('limited');
    expect(await limited.observe()).toMatchObject({ state: 'failed' });
    expect(await limited.start(newestFence(), never)).toMatchObject({ state: 'running' });
  });

  test('rotates a healthy unit more often than its start limit allows', async () => {
    const limited = service('limited');
    for (let round = 0; round < 3; round += 1) {
      await limited.stop(newestFence(), never);
      expect(await limited.start(newestFence(), never)).toMatchObject({ state: 'running' });
    }
  });

  test('joins the stop that a killed systemctl left behind', async () => {
    const slow = service('slow-stop');
    const { instance } = await slow.start(newestFence(), never);
    const pid = await show('slow-stop', 'MainPID');
    const stopping = 'pgrep -f "^systemctl .*stop -- slow-stop"';
    const killed = slow.stop(newestFence(), never).catch((caught: unknown) => caught);
    await until(async () => (await show('slow-stop', 'ActiveState')) === 'deactivating');
    await inBox(`kill -9 $(${stopping})`);
    expect(await killed).toMatchObject({
      type: 'ServiceFailed',
      message: expect.stringMatching(/killed by a signal|exited with 137/),
    });
    expect(await inBox(`kill -0 ${pid} && echo alive`)).toBe('alive');
    expect(await slow.observe()).toMatchObject({ state: 'stopping' });

    const joined = slow.stop(newestFence(), never);
    await until(async () => (await inBox(stopping)) !== '');
    await letIt('may-stop');
    expect(await joined).toMatchObject({ state: 'stopped' });
    expect(await inBox(`kill -0 ${pid} && echo alive`)).toBe('');
    const stops = `journalctl -q INVOCATION_ID=${instance} -o cat | grep -c Stopping`;
    expect(await inBox(`journalctl --sync; ${stops}`)).toBe('1');
  });

  test('stops waiting when it is aborted, and the next call joins the job', async () => {
    const slow = service('slow-start');
    const reason = new Error('the activity was cancelled');
    const cancelling = new AbortController();
    const starting = slow.start(newestFence(), cancelling.signal).catch((caught: unknown) => caught);
    await until(async () => (await show('slow-start', 'ActiveState')) === 'activating');
    cancelling.abort(reason);
    expect(await starting).toBe(reason);
    expect(await slow.observe()).toMatchObject({ state: 'starting' });
    const invocation = await show('slow-start', 'InvocationID');
    const joined = slow.start(newestFence(), never);
    await until(async () => (await inBox('pgrep -f "^systemctl .*start -- slow-start"')) !== '');
    await letIt('may-start');
    expect(await joined).toMatchObject({ state: 'running', instance: invocation });
  });

  test('reports a stop that takes longer than it may, and finishes it the next time', async () => {
    const slow = service('slow-stop', { stopTimeoutMs: 2_000 });
    await slow.start(newestFence(), never);
    await expect(slow.stop(newestFence(), never)).rejects.toThrow(
      /is deactivating \(stop-sigterm\).* did not end within 2 s.*the next attempt joins it/,
    );
    await letIt('may-stop');
    expect(await service('slow-stop').stop(newestFence(), never)).toMatchObject({ state: 'stopped' });
  });

  test('counts a unit that had to be killed as stopped', async () => {
    const stubborn = service('stubborn');
    await stubborn.start(newestFence(), never);
    expect(await stubborn.stop(newestFence(), never)).toMatchObject({
      state: 'stopped',
      instance: undefined,
    });
    expect(await show('stubborn', 'Result')).toBe('timeout');
  });

  test('is not stopped while a child of it still runs', async () => {
    const leaves = service('leaves-child');
    await leaves.start(newestFence(), never);
    await expect(leaves.stop(newestFence(), never)).rejects.toThrow(
      /is inactive, but 1 of its processes still run \(pid \d+\)/,
    );
    expect(await leaves.observe()).toMatchObject({ state: 'stopping' });
    // Nor the next time, when systemd itself has nothing to stop.
    await expect(leaves.stop(newestFence(), never)).rejects.toThrow('1 of its processes still run');
    await inBox('kill $(pgrep -f "^sleep 1000")');
    expect(await leaves.stop(newestFence(), never)).toMatchObject({ state: 'stopped' });
  });

  test('is not stopped when another unit starts it again', async () => {
    await inBox('systemctl start woken.path');
    const woken = service('woken');
    await until(async () => (await show('woken', 'ActiveState')) === 'active');
    await expect(woken.stop(newestFence(), never)).rejects.toThrow(
      /again after its stop; expected it to stay stopped/,
    );
    expect((await woken.inspect()).findings).toContainEqual(
      expect.objectContaining({
        code: 'unit-triggered',
        severity: 'warning',
        found: expect.stringContaining('woken.path'),
      }),
    );
    await inBox('systemctl stop woken.path woken.service');
  });

  describe('the environment of its processes', () => {
    const names = ['LITELLM_MASTER_KEY', 'LITELLM_SALT_KEY'];

    test('holds the key that the file gave at the start, not the one written since', async () => {
      const plain = service('plain');
      await plain.stop(newestFence(), never);
      await plain.start(newestFence(), never);
      await writeFile(join(directory, 'keys.env'), 'LITELLM_MASTER_KEY=sk-written-later\n');
      try {
        const environment = await plain.environment(names);
        expect(given(environment.get('LITELLM_MASTER_KEY'))).toEqual({ given: masterKey });
        expect(environment.get('LITELLM_SALT_KEY')).toBe('absent');
      } finally {
        await writeFile(join(directory, 'keys.env'), `LITELLM_MASTER_KEY=${masterKey}\n`);
      }
    });

    test('is read from the child of a wrapper, and is unknown where the two differ', async () => {
      const wrapper = service('wrapper');
      await wrapper.start(newestFence(), never);
      const environment = await wrapper.environment([...names, 'BOTH', 'DIFFERENT', 'ONLY_WRAPPER']);
      expect(given(environment.get('LITELLM_MASTER_KEY'))).toEqual({ given: 'sk-child' });
      expect(given(environment.get('BOTH'))).toEqual({ given: 'same' });
      expect(environment.get('DIFFERENT')).toBe('unknown');
      expect(environment.get('LITELLM_SALT_KEY')).toBe('absent');
    });

    test('lacks a key that the file exports, which systemd does not read', async () => {
      const exported = service('exported');
      await exported.start(newestFence(), never);
      expect((await exported.environment(names)).get('LITELLM_MASTER_KEY')).toBe('absent');
    });

    test('is unknown when the process has written its title over it', async () => {
      const retitled = service('retitled');
      await retitled.start(newestFence(), never);
      expect((await retitled.environment(names)).get('LITELLM_MASTER_KEY')).toBe('unknown');
    });

    test('is unknown when nothing runs', async () => {
      await service('exported').stop(newestFence(), never);
      expect((await service('exported').environment(names)).get('LITELLM_MASTER_KEY')).toBe('unknown');
    });
  });

  test('gives the log of one start only, with the lines of systemd about it', async () => {
    const talks = service('talks');
    const first = await talks.start(newestFence(), never);
    await talks.stop(newestFence(), never);
    const second = await talks.start(newestFence(), never);
    const lines = (await talks.log(second.instance ?? '', 50)) ?? [];
    expect(lines).toContain(`start ${second.instance}`);
    expect(lines).not.toContain(`start ${first.instance}`);
    expect(lines).toContain('\u001b[31mred\ufffd');
    expect(lines).toContainEqual(expect.stringMatching(/^Started .*talks\.service/));
    expect((await talks.log(first.instance ?? '', 50)) ?? []).toContain(`start ${first.instance}`);
    expect((await talks.log(second.instance ?? '', 1)) ?? []).toHaveLength(1);
    await talks.stop(newestFence(), never);
  });

  test('tells who else listens on a port: nobody, root, or a user that is not its own', async () => {
    const talks = service('talks');
    await talks.start(newestFence(), never);
    const [free, taken] = [await freePort(), await freePort()];
    const squatter = spawn('python3', ['-m', 'http.server', '--bind', '127.0.0.1', `${taken}`], {
      uid: 65_534,
      gid: 65_534,
      cwd: '/',
      stdio: 'ignore',
    });
    const ours = createServer().listen(0, '127.0.0.1');
    try {
      await expect.poll(() => talks.strangers(taken)).toEqual([65_534]);
      expect(await talks.strangers(free)).toEqual([]);
      expect(await talks.strangers((ours.address() as AddressInfo).port)).toEqual([]);
    } finally {
      squatter.kill();
      ours.close();
    }
    await talks.stop(newestFence(), never);
  });

  describe('before a rotation', () => {
    const codes = async (unit: string, options: Partial<SystemdServiceOptions> = {}) => {
      const { findings } = await service(unit, options).inspect();
      return findings.map(({ severity, code }) => `${severity} ${code}`).toSorted();
    };

    test('finds nothing wrong with a good unit', async () => {
      expect(await codes('plain', { envFiles: [join(directory, 'keys.env')] })).toEqual([]);
    });

    test('finds what would make the new keys not arrive, and keeps the values to itself', async () => {
      const envFiles = ['first.env', 'second.env', 'not-read.env'].map((name) => join(directory, name));
      await inBox('systemctl start needs-wrong');
      expect(await codes('wrong', { envFiles })).toEqual([
        'blocking env-file-unread',
        'blocking key-variable-unset',
        'note unit-type-simple',
        'warning env-file-optional',
        'warning env-file-order',
        'warning env-file-unlisted',
        'warning key-in-unit-file',
        'warning unit-has-dependants',
        'warning unit-leaves-processes',
        'warning unit-start-limit-low',
        'warning unit-stop-unbounded',
      ]);
      const { findings } = await service('wrong', { envFiles }).inspect();
      expect(JSON.stringify(findings)).not.toContain('sk-in-the-unit-file');
    });

    test('finds a relative EnvironmentFile=, which systemd passes over', async () => {
      const { findings } = await service('wrong', { envFiles: ['relative.env'] }).inspect();
      expect(findings).toContainEqual(
        expect.objectContaining({
          code: 'env-file-unread',
          expected: expect.stringContaining('relative.env among them, by its absolute path'),
        }),
      );
    });

    test('finds a unit that does not exist, is masked, is a oneshot, or has changed on disk', async () => {
      expect(await codes('nowhere')).toEqual(['blocking unit-not-found']);
      expect(await codes('once')).toEqual(['blocking unit-not-restartable']);
      expect(await codes('masked')).toEqual(['blocking unit-masked']);
      await service('returns').start(newestFence(), never);
      await inBox('sleep 1; echo "# changed" >> /etc/systemd/system/returns.service');
      expect(await codes('returns')).toEqual(['blocking daemon-reload-needed']);
      await inBox('systemctl daemon-reload; systemctl stop returns');
      expect(await codes('returns')).toEqual([]);
    });

    test('refuses to drive a unit that does not exist', async () => {
      await expect(service('nowhere').start(newestFence(), never)).rejects.toThrow('LoadState=not-found');
      await expect(service('nowhere').stop(newestFence(), never)).rejects.toThrow('LoadState=not-found');
    });
  });

  test.skipIf(!existsSync(busDaemon))(
    'works for another user only as far as systemd lets it, and says so',
    async () => {
      const plain = service('plain');
      await plain.start(newestFence(), never);
      const demoted: Host = {
        run: (file, args, options) =>
          host.run('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', file, ...args], options),
        readFile: (path) => readFileIn(demoted, path),
      };
      const other = service('plain', { host: demoted });
      expect((await other.inspect()).findings.map(({ code }) => code)).toEqual([
        'service-manager-unreachable',
      ]);
      await inBox('systemctl start dbus.socket');
      expect((await other.inspect()).findings.map(({ code }) => code)).toEqual([
        'service-manager-may-refuse',
      ]);
      await expect(other.stop(newestFence(), never)).rejects.toThrow(
        /we are not allowed to: run the worker as root/,
      );
      expect(await plain.observe()).toMatchObject({ state: 'running' });
      expect((await other.environment(['LITELLM_MASTER_KEY'])).get('LITELLM_MASTER_KEY')).toBe('unknown');
    },
  );

  test('drives a unit of the user manager', async () => {
    const mine = service('mine', { scope: 'user', host: boxHost(box, { asUser: true }) });
    expect(mine.description).toBe('systemd user unit mine.service');
    expect((await mine.inspect()).findings).toEqual([]);
    const { instance } = await mine.start(newestFence(), never);
    expect(given((await mine.environment(['NAME'])).get('NAME'))).toEqual({ given: 'value' });
    const lines = (await mine.log(instance ?? '', 20)) ?? [];
    expect(lines).toContain('mine');
    expect(lines).toContainEqual(expect.stringMatching(/^Started .*mine\.service/));
    expect(await mine.stop(newestFence(), never)).toMatchObject({ state: 'stopped' });
  });
});

describe('a machine without systemd', () => {
  test('is a blocking finding, not a crash', async () => {
    const { findings, state } = await createSystemdService({
      unit: 'litellm',
      scope: 'system',
      host: {
        run: async () => ({ ended: 'exited', code: 1, stdout: '', stderr: '' }),
        readFile: async () => Buffer.alloc(0),
      },
    }).inspect();
    expect(findings.map(({ severity, code }) => [severity, code])).toEqual([
      ['blocking', 'service-manager-unreachable'],
    ]);
    expect(state.state).toBe('failed');
  });

  test.for(['--all', 'a b', 'x.socket', '../x', ''])('is not needed to refuse the unit name %j', (unit) => {
    expect(() => createSystemdService({ unit, scope: 'system' })).toThrow(/expected one service unit/);
  });
});

function scratchUnits(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(units).map(([name, text]) => [name, `${text.replaceAll('@scratch@', directory)}\n`]),
  );
}

/** The machine's own bus units: without a bus, only root can talk to systemd. */
function dbusUnits(): Record<string, string> {
  const stock = ['dbus.service', 'dbus.socket'].map(
    (name) => [name, join('/lib/systemd/system', name)] as const,
  );
  return Object.fromEntries(
    stock.filter(([, path]) => existsSync(path)).map(([name, path]) => [name, readFileSync(path, 'utf8')]),
  );
}
