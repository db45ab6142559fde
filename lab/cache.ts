import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, readdir, realpath, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long to wait for another process that builds the same thing: a cold build of the Temporal CLI takes five minutes. */
const patienceMs = 20 * 60_000;

/** Where installs are kept between runs and clones: `LITELLM_ROTATE_CACHE`, else `$XDG_CACHE_HOME/litellm-rotate`. */
export function cacheDir(): string {
  const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return process.env.LITELLM_ROTATE_CACHE || join(base, 'litellm-rotate');
}

/** The directory of a finished install, or undefined. */
export async function cached(name: string, version: string): Promise<string | undefined> {
  return realpath(join(cacheDir(), `${name}-${version}`)).catch(() => undefined);
}

/**
 * Builds something once for all processes and runs, and returns its directory.
 *
 * `build` fills a fresh directory, which then stays where it is (a Python environment cannot be moved); what is published
 * is a symbolic link to it. So a half-made install is never found, even after a kill. One process builds, the others
 * wait; a lock whose owner died is taken over, and what the dead owner left is removed.
 *
 * @throws whatever `build` throws, after the directory is removed
 */
export async function once(
  name: string,
  version: string,
  build: (directory: string) => Promise<void>,
): Promise<string> {
  const ready = await cached(name, version);
  if (ready !== undefined) return ready;
  const root = cacheDir();
  await mkdir(root, { recursive: true });
  const published = join(root, `${name}-${version}`);
  const release = await lock(`${published}.lock`);
  try {
    const byAnother = await cached(name, version);
    if (byAnother !== undefined) return byAnother;
    for (const entry of await readdir(root)) {
      if (entry.startsWith(`${name}-${version}.build-`))
        await rm(join(root, entry), { recursive: true, force: true });
    }
    await rm(published, { force: true }); // a link that leads nowhere
    const directory = `${published}.build-${randomBytes(4).toString('hex')}`;
    await mkdir(directory);
    try {
      await build(directory);
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
    await symlink(basename(directory), published);
    return directory;
  } finally {
    await release();
  }
}

/** Takes a lock file for this process, waiting while its owner lives. Returns what gives it back. */
async function lock(path: string): Promise<() => Promise<void>> {
  const mine = `${process.pid} ${await startedAt(process.pid)} ${randomBytes(4).toString('hex')}\n`;
  const draft = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  await writeFile(draft, mine, { flag: 'wx' });
  try {
    for (const deadline = Date.now() + patienceMs; ; await sleep(200)) {
      // A link appears with its content or not at all, so that a lock always names its owner.
      if (await link(draft, path).then(() => true, existsAlready)) break;
      const owner = await readFile(path, 'utf8').catch(() => '');
      if (owner !== '' && !(await isAlive(owner))) await removeStale(path, owner);
      else if (Date.now() > deadline)
        throw new Error(`${path} is still held by process ${owner.split(' ')[0]}`);
    }
  } finally {
    await unlink(draft);
  }
  return async () => {
    if ((await readFile(path, 'utf8').catch(() => '')) === mine) await rm(path, { force: true });
  };
}

const existsAlready = (error: NodeJS.ErrnoException): false => {
  if (error.code === 'EEXIST') return false;
  throw error;
};

/** Two waiters may find the same dead owner: only the one whose marker is new removes the lock, and only that lock. */
async function removeStale(path: string, owner: string): Promise<void> {
  const marker = `${path}.stale-${owner.trim().replaceAll(' ', '-')}`;
  if (!(await writeFile(marker, '', { flag: 'wx' }).then(() => true, existsAlready))) return;
  if ((await readFile(path, 'utf8').catch(() => '')) === owner) await rm(path, { force: true });
  await rm(marker, { force: true });
}

async function isAlive(owner: string): Promise<boolean> {
  const [pid, started] = owner.split(' ');
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  return (await startedAt(Number(pid))) === started; // else another process has its number
}

/** When a process started, in clock ticks since boot (proc(5), field 22); 0 where there is no /proc. */
async function startedAt(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '0';
}
