import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type SystemdBox, canRunSystemd, startSystemdBox } from '../../lab/systemd-box.ts';

const unit = (command: string): string =>
  `[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=${command}\n`;

describe.skipIf(canRunSystemd() !== undefined)('a box of systemd', () => {
  let box: SystemdBox;
  beforeAll(async () => {
    const hello = unit(`/bin/sh -c 'echo hello from %n; exec sleep 1000'`);
    box = await startSystemdBox({ units: { 'own.service': hello }, userUnits: { 'theirs.service': hello } });
  }, 60_000);
  afterAll(() => box.stop(), 60_000);

  const sh = async (script: string, asUser = false): Promise<string> =>
    (await box.run('sh', ['-c', script], { asUser })).stdout;

  test('is not the machine: its name and its units are its own', async () => {
    expect(await sh('cat /run/systemd/container')).toBe('systemd-box');
    expect(await sh('cat /proc/1/comm')).toBe('systemd');
  });

  test('runs a unit, and journald has its lines', async () => {
    expect((await box.run('systemctl', ['restart', 'own'])).exitCode).toBe(0);
    expect(await sh('systemctl is-active own')).toBe('active');
    const invocation = await sh('systemctl show own -p InvocationID --value');
    await expect
      .poll(() => sh(`journalctl --sync; journalctl -o cat _SYSTEMD_INVOCATION_ID=${invocation}`))
      .toContain('hello from own');
  });

  test('runs a unit of an ordinary user, with a journal of their own', async () => {
    expect((await box.run('systemctl', ['--user', 'restart', 'theirs'], { asUser: true })).exitCode).toBe(0);
    expect(await sh('systemctl --user is-active theirs', true)).toBe('active');
    await sh('journalctl --sync');
    await expect.poll(() => sh('journalctl --user -u theirs -o cat', true)).toContain('hello from theirs');
    expect(await sh('systemctl --user is-active own', true)).toBe('inactive');
  });

  test('runs this Node in the box, as root and as the user', async () => {
    const script = 'console.log(process.getuid(), process.version)';
    expect((await box.run(process.execPath, ['-e', script])).stdout).toBe(`0 ${process.version}`);
    expect((await box.run(process.execPath, ['-e', script], { asUser: true })).stdout).toBe(
      `23456 ${process.version}`,
    );
  });

  test('hands a SIGTERM on to a process that was started in the box', async () => {
    const worker = box.exec('sh', [
      '-c',
      'trap "echo ended >/run/ended; exit 0" TERM; touch /run/begun; while :; do sleep 0.05; done',
    ]);
    const ended = worker.catch(() => undefined);
    await expect
      .poll(async () => (await box.run('test', ['-e', '/run/begun'])).exitCode, { timeout: 5000 })
      .toBe(0);
    worker.kill('SIGTERM');
    await ended;
    await expect.poll(() => sh('cat /run/ended'), { timeout: 5000 }).toBe('ended');
  });
});
