import { execa, type ResultPromise } from 'execa';
import { randomBytes } from 'node:crypto';
import { chown, mkdtemp, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { untilStopped } from '../cleanup.ts';
import { canRunDocker, type Docker } from '../docker.ts';
import { onPath } from '../child.ts';
import { buildProject, copyComposeProject } from '../project-copies.ts';
import { importMachineImage } from './machine-image.ts';
import { composeOverride } from './override.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** docker-compose.yml, up and healthy, in a copy of what a user has after the clone and init-keys.sh. */
export interface ComposeStack {
  readonly directory: string;
  /** Runs `docker compose` in that directory. */
  compose(...args: string[]): ResultPromise<ComposeOptions>;
  /** The address of a published port: `http://127.0.0.1:40000`. */
  url(service: string, port: number): Promise<string>;
  stop(): Promise<void>;
}

interface ComposeOptions {
  readonly cwd: string;
  readonly env: Record<string, string>;
  readonly extendEnv: false;
  readonly reject: false;
  readonly all: true;
}

interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** Why the stack cannot be run here, or undefined when it can, as far as can be told without an engine. */
export async function canRunComposeStack(): Promise<string | undefined> {
  const refusal = await canRunDocker();
  if (refusal !== undefined) return refusal;
  if (process.platform !== 'linux') return "its containers run this machine's own programs, and need Linux";
  // The npm package of Postgres has none.
  if (onPath('psql') === undefined) return 'psql is not installed';
  return (await hasBridges()) ? undefined : "this kernel has no bridge for the containers' network";
}

/** Tried in a network of its own, that nobody sees. Without `ip` it cannot be tried, and is taken for granted. */
async function hasBridges(): Promise<boolean> {
  if (onPath('unshare') === undefined || onPath('ip') === undefined) return true;
  const probe = ['--net', 'ip', 'link', 'add', 'probe', 'type', 'bridge'];
  return !(await execa('unshare', probe, { reject: false })).failed;
}

/** Builds the project, makes the keys and brings the stack up. `target` is added to the worker's configuration of `local`. */
export async function startComposeStack(
  docker: Docker,
  target: Readonly<Record<string, unknown>> = {},
): Promise<ComposeStack> {
  const home = await realpath(await mkdtemp(join(tmpdir(), 'litellm-rotate-stack-')));
  const [directory, builder] = [join(home, 'project'), join(home, 'builder')];
  const name = `litellm-rotate-${randomBytes(3).toString('hex')}`;
  const env = { ...ofMachine(), ...docker.env };
  const options: ComposeOptions = { cwd: directory, env, extendEnv: false, reject: false, all: true };
  const compose: ComposeStack['compose'] = (...args) => execa('docker', ['compose', ...args], options);
  const stop = untilStopped(
    async () => {
      await compose('down', '--volumes', '--timeout', '1');
      await rm(home, { recursive: true, force: true });
    },
    () => undefined,
  );
  try {
    await copyComposeProject(directory);
    await configure(join(directory, 'packaging/compose/litellm-rotate.yaml'), target);
    const user = await owner(directory);
    const socket = socketOf(docker);
    await makeKeys(directory, user, await groupOf(docker, socket));
    const [image, workerImage] = [`${name}:1`, `${name}-worker:1`];
    await importMachineImage(docker, image);
    await importMachineImage(docker, workerImage, await lastStage());
    await buildProject(builder);
    const override = await composeOverride(docker, {
      name,
      image,
      workerImage,
      socket,
      dist: join(builder, 'dist'),
    });
    await writeFile(join(directory, 'docker-compose.override.yml'), override);
    const up = await compose('up', '--detach', '--wait');
    if (up.exitCode !== 0) {
      const log = await compose('logs', '--no-color', '--tail', '40');
      throw new Error(`docker compose up ended with ${up.exitCode}\n${up.stderr}\n${log.stdout}`);
    }
    return {
      directory,
      compose,
      async url(service, port) {
        const { stdout } = await compose('port', service, `${port}`);
        return `http://${stdout.trim()}`;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What leads `docker` to the machine's own engine, and nothing that Compose would take before what is in .env. */
function ofMachine(): Record<string, string> {
  const wanted = Object.entries(process.env).filter(([name]) =>
    /^(PATH|HOME|DOCKER_(HOST|CONTEXT|CONFIG|CERT_PATH|TLS_VERIFY))$/.test(name),
  );
  return Object.fromEntries(wanted.map(([name, value]) => [name, value ?? '']));
}

async function configure(path: string, target: Readonly<Record<string, unknown>>): Promise<void> {
  const { targets } = parse(await readFile(path, 'utf8')) as { targets: { local: Record<string, unknown> } };
  await writeFile(path, stringify({ targets: { local: { ...targets.local, ...target } } }));
}

/** An ordinary user where that can be had, as whoever runs Compose is seldom root. */
async function owner(directory: string): Promise<Account> {
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  if (uid !== 0) return { uid, gid };
  const user = { uid: 1234, gid: 1234 };
  await execa('chown', ['-R', `${user.uid}:${user.gid}`, directory]);
  await chown(join(directory, '..'), user.uid, user.gid);
  return user;
}

function socketOf({ env }: Docker): string {
  const host = env['DOCKER_HOST'] ?? process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock';
  return host.replace(/^unix:\/\//, '');
}

/** Ours belongs to root alone; an installed one belongs to a group, by which the worker gets to it. */
async function groupOf({ shared }: Docker, socket: string): Promise<number> {
  const group = 5678;
  if (!shared) await chown(socket, 0, group);
  return shared ? (await stat(socket)).gid : group;
}

async function makeKeys(directory: string, user: Account, group: number): Promise<void> {
  await execa(join(directory, 'packaging/compose/init-keys.sh'), {
    ...user,
    env: { PATH: process.env.PATH, DOCKER_GID: `${group}` },
    extendEnv: false,
  });
}

/** What the Dockerfile says about the container, beside the files in it. */
async function lastStage(): Promise<string[]> {
  const lines = (await readFile(join(root, 'Dockerfile'), 'utf8')).split('\n');
  const stage = lines.slice(lines.findLastIndex((line) => line.startsWith('FROM ')));
  return stage.filter((line) => /^(WORKDIR|ENV|USER|HEALTHCHECK|ENTRYPOINT|CMD) /.test(line));
}
