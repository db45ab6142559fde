import { execa } from 'execa';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { onPath, startChild, untilReady } from './child.ts';
import { untilStopped } from './cleanup.ts';
import { ensureCompose } from './compose.ts';
import { debianDocker, debianIptables, staticBusybox } from './docker-packages.ts';
import { say, stopwatch } from './report.ts';

export { ensureCompose } from './compose.ts';

/** A Docker engine that tests may use, and the `docker` command with Compose for it. */
export interface Docker {
  /** Whether it is the machine's own engine, with containers of others in it. */
  readonly shared: boolean;
  /** What a process needs to reach it: PATH, and where they are ours DOCKER_HOST and DOCKER_CONFIG. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs `docker` and returns its stdout; throws for a status other than 0. */
  run(...args: string[]): Promise<string>;
  /**
   * Makes an image of 2 MB: busybox, and `/app/serve`, which writes `$KEY_ID` and serves it at `http://127.0.0.1:$PORT/key`
   * (@default 8080).
   */
  importTinyImage(name: string): Promise<void>;
  /** Makes an image of what is in a directory, owned by root. `changes` are lines of a Dockerfile, such as `WORKDIR /app`. */
  importImage(name: string, directory: string, changes?: readonly string[]): Promise<void>;
  stop(): Promise<void>;
}

/** Why no engine can be had here, or undefined when one can, as far as can be told without starting it. */
export async function canRunDocker(): Promise<string | undefined> {
  if (await hasEngine()) return undefined;
  if (process.platform !== 'linux') return 'no Docker engine answers, and ours needs Linux';
  if (process.getuid?.() !== 0) return 'no Docker engine answers, and ours needs root';
  if (onPath('dockerd') === undefined && onPath('apt-get') === undefined)
    return 'no dockerd is installed, and none can be unpacked';
  return undefined;
}

/** Makes sure that an engine can be started, and returns the directories to put on PATH for it. */
export async function ensureDocker(): Promise<string[]> {
  const since = stopwatch();
  const dockerd = onPath('dockerd');
  if (dockerd !== undefined) say(`dockerd found at ${dockerd} (${since()})`);
  const engine = dockerd === undefined ? await debianDocker() : [dirname(dockerd)];
  return [...engine, await debianIptables()];
}

/**
 * The machine's engine where one answers, else one of our own that leaves the machine's firewall alone: no default bridge,
 * no rules. A container that is to be reached needs a network of its own (Compose makes one for each project), in which
 * services find each other by name and ports are published, but nothing outside is reached; or `network_mode: host`. It
 * starts in 0.3 s; its images, containers and networks go with it.
 */
export async function startDocker(): Promise<Docker> {
  const refusal = await canRunDocker();
  if (refusal !== undefined) throw new Error(refusal);
  const compose = await ensureCompose();
  if (await hasEngine()) {
    say('docker: the engine of this machine answers');
    return dockerWith(compose.env, true, async () => undefined);
  }
  const directories = await ensureDocker();
  const home = await mkdtemp(join(tmpdir(), 'litellm-rotate-docker-'));
  const log = join(home, 'log');
  const socket = `unix://${join(home, 'docker.sock')}`;
  const PATH = [...directories, compose.env.PATH ?? ''].join(delimiter);
  const env = { DOCKER_CONFIG: join(home, 'config'), ...compose.env, PATH, DOCKER_HOST: socket };
  const alone = [
    '--iptables=false',
    '--ip6tables=false',
    '--ip-masq=false',
    '--ip-forward=false',
    '--bridge=none',
  ];
  const places = [
    '--data-root',
    join(home, 'data'),
    '--exec-root',
    join(home, 'run'),
    '--pidfile',
    join(home, 'pid'),
    '-H',
    socket,
  ];
  const dockerd = onPath('dockerd', PATH) ?? 'dockerd';
  const child = await startChild(dockerd, [...alone, ...places], {
    env: { ...env, HOME: home },
    log,
    cwd: home,
    deathSignal: 'TERM',
  });
  const stop = untilStopped(
    async () => {
      await removeNetworks(docker); // an engine leaves its bridges to the machine
      await child.stop('SIGTERM', 30_000);
      await unmountBelow(home);
      await rm(home, { recursive: true, force: true });
    },
    () => child.abandon('SIGTERM'),
  );
  const docker = dockerWith(env, false, stop);
  try {
    await untilReady('dockerd', child, log, 60_000, async () => (await docker.run('version')) !== '');
  } catch (error) {
    await stop();
    throw error;
  }
  return docker;
}

async function removeNetworks(docker: Docker): Promise<void> {
  try {
    const containers = (await docker.run('ps', '--all', '--quiet')).split('\n').filter(Boolean);
    if (containers.length > 0) await docker.run('rm', '--force', ...containers);
    await docker.run('network', 'prune', '--force');
  } catch (error) {
    say(
      `docker: its networks could not be removed: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** A stopped engine leaves the mount of its network namespace, and a killed one those of its containers. */
async function unmountBelow(directory: string): Promise<void> {
  const mounts = (await readFile('/proc/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
  const below = mounts.filter((path) => path.startsWith(`${directory}/`));
  if (below.length > 0) await execa('umount', ['--lazy', ...below.toReversed()]);
}

async function hasEngine(): Promise<boolean> {
  if (onPath('docker') === undefined) return false;
  return !(await execa('docker', ['info'], { reject: false, timeout: 10_000 })).failed;
}

function dockerWith(
  env: Readonly<Record<string, string>>,
  shared: boolean,
  stopEngine: () => Promise<void>,
): Docker {
  const images: string[] = [];
  const run: Docker['run'] = async (...args) => (await execa('docker', args, { env })).stdout;
  const importImage: Docker['importImage'] = async (name, directory, changes = []) => {
    const archive = execa('tar', ['-C', directory, '--owner=0', '--group=0', '-c', '.'], {
      encoding: 'buffer',
      maxBuffer: 100_000_000,
    });
    const flags = changes.flatMap((change) => ['--change', change]);
    await execa('docker', ['import', ...flags, '-', name], { env, input: (await archive).stdout });
    images.push(name);
  };
  return {
    shared,
    env,
    run,
    async importTinyImage(name) {
      await withTinyRoot((directory) =>
        importImage(name, directory, ['CMD ["/app/serve"]', 'ENV PATH=/bin']),
      );
    },
    importImage,
    async stop() {
      if (shared && images.length > 0) await run('image', 'rm', '-f', ...images);
      await stopEngine();
    },
  };
}

const serve = `#!/bin/sh
mkdir -p /www && printf '%s' "$KEY_ID" >/www/key
exec httpd -f -p "127.0.0.1:\${PORT:-8080}" -h /www
`;

async function withTinyRoot(use: (directory: string) => Promise<void>): Promise<void> {
  const busybox = await staticBusybox();
  const root = await mkdtemp(join(tmpdir(), 'litellm-rotate-image-'));
  try {
    await chmod(root, 0o755);
    for (const directory of ['bin', 'app', 'www', 'tmp']) await mkdir(join(root, directory), { mode: 0o755 });
    await cp(busybox, join(root, 'bin/busybox'));
    await chmod(join(root, 'bin/busybox'), 0o755);
    for (const applet of ['sh', 'cat', 'env', 'httpd', 'mkdir', 'printf', 'sleep', 'test', 'true', 'wget']) {
      await symlink('busybox', join(root, 'bin', applet));
    }
    await writeFile(join(root, 'app/serve'), serve, { mode: 0o755 });
    await use(root);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}
