import { existsSync, lstatSync, readlinkSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Docker } from '../docker.ts';

const programs = ['/usr/bin', '/usr/lib', '/usr/lib64', '/usr/share', '/etc/alternatives', '/etc/ssl'];
const mayBeLinks = ['/bin', '/lib', '/lib64'];

/** The machine's own programs, to be mounted read-only at the same place. /usr/local and /sbin are left to images and the engine. */
export const machineMounts: readonly string[] = [
  ...programs,
  ...mayBeLinks.filter((path) => linkOf(path) === undefined),
]
  .filter((path) => existsSync(path))
  .map((path) => readOnly(path));

/** A volume of a compose service: a path of this machine at the same place in the container, or at another. */
export function readOnly(source: string, target = source): string {
  return `${source}:${target}:ro`;
}

const directories = ['app', 'etc', 'root', 'run', 'sbin', 'tmp', 'usr/local/bin', 'var/lib'];
const accounts = [
  ['root', 0, '/root'],
  ['postgres', 999, '/var/lib/postgresql'],
  ['node', 1000, '/home/node'],
] as const;

/**
 * Makes an image with nothing of its own but accounts and empty directories. Its containers run the machine's programs, by
 * `machineMounts`.
 */
export async function importMachineImage(
  docker: Docker,
  name: string,
  changes: readonly string[] = [],
): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'litellm-rotate-image-'));
  try {
    for (const directory of directories) await mkdir(join(root, directory), { recursive: true });
    await symlink('../run', join(root, 'var/run'));
    await symlink('../usr/lib/os-release', join(root, 'etc/os-release'));
    for (const path of mayBeLinks) {
      const link = linkOf(path);
      if (link !== undefined) await symlink(link, join(root, path));
    }
    const lines = (line: (user: string, id: number, home: string) => string): string =>
      accounts.map(([name, id, home]) => `${line(name, id, home)}\n`).join('');
    const passwd = lines((user, id, home) => `${user}:x:${id}:${id}::${home}:/bin/sh`);
    await writeFile(join(root, 'etc/passwd'), passwd);
    await writeFile(
      join(root, 'etc/group'),
      lines((group, id) => `${group}:x:${id}:`),
    );
    await docker.importImage(name, root, changes);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

function linkOf(path: string): string | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? readlinkSync(path) : undefined;
}
