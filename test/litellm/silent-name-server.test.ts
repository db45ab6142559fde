import { execa } from 'execa';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';

const apart = ['--mount', '--net', '--propagation', 'private', '--'];
const probe = await execa('unshare', [...apart, 'ip', 'link', 'set', 'lo', 'up'], { reject: false });
if (probe.failed)
  console.log('a name server that never answers is not tried: no namespaces can be made here');

/** What the child sees with files of its own in the place of the machine's. */
async function seen(what: string): Promise<unknown> {
  const directory = await mkdtemp(join(tmpdir(), 'litellm-rotate-names-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const files = { 'resolv.conf': 'nameserver 127.0.0.1\noptions timeout:3 attempts:1\n', hosts: '' };
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
  const mounts = Object.keys(files).map((name) => `mount --bind '${join(directory, name)}' /etc/${name}`);
  const script = [...mounts, 'ip link set lo up', 'exec "$0" "$@"'].join(' && ');
  const child = [process.execPath, new URL('./port-child.ts', import.meta.url).pathname, what];
  const { stdout } = await execa('unshare', [...apart, 'sh', '-c', script, ...child]);
  return JSON.parse(stdout);
}

describe.skipIf(probe.failed)('where no name server answers, the look at a stopped service', () => {
  test('sees one that still listens, though its name leads nowhere any more', async () => {
    expect(await seen('running')).toBe(true);
  });

  test('is done before the resolver gives up', async () => {
    expect(await seen('stopped')).toBe(false);
  });

  test('sees one that was started again at another address, even while the last question is open', async () => {
    expect(await seen('moved')).toEqual([false, true]);
  });
});
