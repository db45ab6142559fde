import { execa } from 'execa';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cached, once } from './cache.ts';
import { onPath } from './child.ts';
import { say, stopwatch } from './report.ts';

/** Directories with `dockerd`, `containerd`, `runc` and `docker` from Debian's packages, unpacked, not installed. */
export async function debianDocker(): Promise<string[]> {
  const root = await unpacked('debian-docker', ['docker.io', 'containerd', 'runc', 'tini']);
  return [join(root, 'usr/bin'), join(root, 'usr/sbin')];
}

/** A busybox that needs no library: the machine's, else Debian's. */
export async function staticBusybox(): Promise<string> {
  const own = onPath('busybox');
  if (own !== undefined && (await execa('ldd', [own], { reject: false })).failed) return own; // "not a dynamic executable"
  return join(await unpacked('debian-busybox', ['busybox-static']), 'bin/busybox');
}

/** A directory with `iptables`, which the engine redirects a container's name look-ups with: the machine's, else Debian's. */
export async function debianIptables(): Promise<string> {
  const own = onPath('iptables');
  if (own !== undefined) return dirname(own);
  const libraries = [
    'libxtables12',
    'libip4tc2',
    'libip6tc2',
    'libnftnl11',
    'libmnl0',
    'libnetfilter-conntrack3',
  ];
  const root = await unpacked(
    'debian-iptables',
    ['iptables', ...libraries, 'libnfnetlink0'],
    async (unpackedTo) => {
      await mkdir(join(unpackedTo, 'bin'));
      for (const name of ['iptables', 'ip6tables'])
        await writeFile(join(unpackedTo, 'bin', name), iptablesOf(unpackedTo, name), { mode: 0o755 });
    },
  );
  return join(root, 'bin');
}

/** A program that is not installed does not find its libraries by itself. */
const iptablesOf = (root: string, name: string): string => `#!/bin/sh
set -- ${name} "$@"
for libraries in '${root}'/usr/lib/*-linux-*; do
  export LD_LIBRARY_PATH="$libraries" XTABLES_LIBDIR="$libraries/xtables"
done
exec '${root}/usr/sbin/xtables-nft-multi' "$@"
`;

/** Whatever version the machine's own package lists name: it has to fit the machine's libraries. */
async function unpacked(
  name: string,
  packages: readonly string[],
  finish: (directory: string) => Promise<void> = async () => undefined,
): Promise<string> {
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
    await finish(directory);
  });
  say(`${packages.join(', ')} ${candidates[0]} ${had ? 'found' : 'unpacked'} in ${root} (${since()})`);
  return root;
}
