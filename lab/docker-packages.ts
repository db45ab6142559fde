import { execa } from 'execa';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, once } from './cache.ts';
import { onPath } from './child.ts';
import { say, stopwatch } from './report.ts';

/** Directories with `dockerd`, `containerd`, `runc` and `docker` from Debian's packages, unpacked, not installed. */
export async function debianDocker(): Promise<string[]> {
  const root = await unpacked('debian-docker', ['docker.io', 'containerd', 'runc']);
  return [join(root, 'usr/bin'), join(root, 'usr/sbin')];
}

/** A busybox that needs no library: the machine's, else Debian's. */
export async function staticBusybox(): Promise<string> {
  const own = onPath('busybox');
  if (own !== undefined && (await execa('ldd', [own], { reject: false })).failed) return own; // "not a dynamic executable"
  return join(await unpacked('debian-busybox', ['busybox-static']), 'bin/busybox');
}

/** Whatever version the machine's own package lists name: it has to fit the machine's libraries. */
async function unpacked(name: string, packages: readonly string[]): Promise<string> {
  const since = stopwatch();
  if (onPath('apt-get') === undefined || onPath('dpkg') === undefined) {
    throw new Error(`${packages.join(', ')} can be unpacked on Debian and its kin only: install Docker`);
  }
  const { stdout: list } = await execa('apt-cache', ['policy', ...packages]);
  const candidates = [...list.matchAll(/Candidate: (\S+)/g)].map((match) => match[1] ?? '');
  const version = candidates.join('_').replace(/[^\w.+~-]/g, '-');
  if (candidates.length < packages.length || candidates.includes('(none)')) {
    throw new Error(`no Debian package ${packages.join(', ')}: try apt-get update`);
  }
  const had = await cached(name, version);
  const root = await once(name, version, async (directory) => {
    const archives = join(directory, 'archives');
    await mkdir(archives);
    await execa('apt-get', ['download', '-q', ...packages], { cwd: archives });
    for (const file of await readdir(archives)) await execa('dpkg', ['-x', join(archives, file), directory]);
    await rm(archives, { recursive: true });
  });
  say(`${packages.join(', ')} ${candidates[0]} ${had ? 'found' : 'unpacked'} in ${root} (${since()})`);
  return root;
}
