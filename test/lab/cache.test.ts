import { execa } from 'execa';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { cached, once } from '../../lab/cache.ts';

let cache: string;

beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), 'cache-test-'));
  vi.stubEnv('LITELLM_ROTATE_CACHE', cache);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(cache, { recursive: true });
});

const cacheModule = new URL('../../lab/cache.ts', import.meta.url).href;

/** A process that asks for the same install, and notes in `builds` that it was the one to build it. */
const racer = `
  const { once } = await import(process.argv[1]);
  const { appendFile, writeFile } = await import('node:fs/promises');
  const directory = await once('part', '1', async (directory) => {
    await appendFile(process.argv[2], 'built ');
    await new Promise((resolve) => setTimeout(resolve, 300));
    await writeFile(directory + '/file', 'whole');
  });
  const { readFileSync } = await import('node:fs');
  process.stdout.write(readFileSync(directory + '/file', 'utf8'));
`;

test('builds once, however many processes ask', async () => {
  const builds = join(cache, 'builds');
  const race = (): Promise<{ stdout: string }> =>
    execa(process.execPath, ['--input-type=module', '-e', racer, cacheModule, builds], {
      env: { LITELLM_ROTATE_CACHE: cache },
    });
  const seen = await Promise.all([race(), race(), race()]);
  expect(seen.map(({ stdout }) => stdout)).toEqual(['whole', 'whole', 'whole']);
  expect(await readFile(builds, 'utf8')).toBe('built ');
});

test('publishes nothing of a build that fails', async () => {
  const broken = once('part', '1', async (directory) => {
    await writeFile(join(directory, 'half'), '');
    throw new Error('no network');
  });
  await expect(broken).rejects.toThrow('no network');
  expect(await readdir(cache)).toEqual([]);
  expect(await cached('part', '1')).toBeUndefined();
});

test('takes over the lock of a dead owner, and removes what it left', async () => {
  const { stdout: deadPid } = await execa(process.execPath, ['-p', 'process.pid']);
  await writeFile(join(cache, 'part-1.lock'), `${deadPid} 12345 abcdef\n`);
  await writeFile(join(cache, 'part-1.build-00000000'), 'left');
  const directory = await once('part', '1', (made) => writeFile(join(made, 'file'), 'whole'));
  expect(await cached('part', '1')).toBe(directory);
  expect((await readdir(cache)).filter((name) => !directory.endsWith(name))).toEqual(['part-1']);
});
