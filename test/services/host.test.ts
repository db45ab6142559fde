import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { describeOutcome, run, thisHost } from '../../src/services/host.ts';
import { scratchDirectory } from '../packaging/project.ts';

const shell = (script: string, options: Partial<Parameters<typeof run>[2]> = {}) =>
  run('sh', ['-c', script], { timeoutMs: 10_000, ...options });

describe('a program that we run', () => {
  test('is told apart by how it ended', async () => {
    expect(await shell('echo out; echo err >&2; exit 3')).toEqual({
      ended: 'exited',
      code: 3,
      stdout: 'out',
      stderr: 'err',
    });
    expect(await shell('kill -9 $$')).toMatchObject({ ended: 'killed', code: undefined });
    expect(await run('no-such-program', [], { timeoutMs: 1_000 })).toMatchObject({ ended: 'not runnable' });
    expect(await run('/proc', [], { timeoutMs: 1_000 })).toMatchObject({ ended: 'not runnable' });
    expect(await shell('echo begun; sleep 30', { timeoutMs: 200 })).toMatchObject({
      ended: 'timed out',
      stdout: 'begun',
    });
  });

  test('gets PATH and HOME and what it is given, and nothing of ours', async () => {
    process.env['LITELLM_MASTER_KEY'] = 'sk-of-the-worker';
    try {
      const { stdout } = await run('env', [], { timeoutMs: 1_000, environment: { GIVEN: 'yes' } });
      expect(stdout.match(/^\w+/gm)?.toSorted()).toEqual(['GIVEN', 'HOME', 'PATH']);
    } finally {
      delete process.env['LITELLM_MASTER_KEY'];
    }
  });

  test('is ended with its children when its time is up, even one that ignores SIGTERM', async () => {
    const { stdout } = await shell('trap "" TERM; sleep 60 & echo $!; wait', { timeoutMs: 200 });
    const stat = await thisHost.readFile(`/proc/${stdout.trim()}/stat`).catch(() => ') X ');
    expect(String(stat)).toMatch(/\) [XZ] /);
  });

  test('does not hold us when a daemon keeps its output open', async () => {
    const switched = join(await scratchDirectory(), 'on');
    await writeFile(switched, '');
    // It would hold us until the end of the test.
    const daemon = `setsid sh -c 'while [ -e ${switched} ]; do sleep 0.1; done' & exit 0`;
    expect(await shell(daemon, { output: 'ignore' })).toMatchObject({ ended: 'exited', code: 0 });
    expect(await shell(daemon, { timeoutMs: 300 })).toMatchObject({ ended: 'timed out' });
    expect(existsSync(switched)).toBe(true);
    await rm(switched);
  });

  test('is ended by an abort, which rejects with its own reason', async () => {
    const reason = new Error('cancelled');
    await expect(shell('true', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 100);
    await expect(shell('sleep 30', { signal: controller.signal })).rejects.toBe(reason);
  });

  test('is described without what it printed', async () => {
    expect(describeOutcome(await shell('echo sk-secret; exit 4'), 1_000)).toBe('exited with 4');
  });
});
