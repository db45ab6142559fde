import { realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { execa } from 'execa';
import { cacheDir } from '../cache.ts';
import { freeFixedPort } from '../child.ts';
import type { Docker } from '../docker.ts';
import { ensureLiteLLM } from '../litellm/install.ts';
import { findPostgres } from '../postgres-binaries.ts';
import { findTemporalCli } from '../temporal-cli.ts';
import { machineMounts, readOnly } from './machine-image.ts';

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const here = join(root, 'lab/compose-stack');

export interface OverrideOptions {
  /** The compose project's name. */
  readonly name: string;
  readonly image: string;
  readonly workerImage: string;
  /** The path of the engine's socket. */
  readonly socket: string;
  /** What `npm run build` has made. */
  readonly dist: string;
}

/**
 * The `docker-compose.override.yml` that puts programs of this machine in the place of the images, and free ports in the
 * place of fixed ones. Everything else stays as docker-compose.yml says.
 */
export async function composeOverride(docker: Docker, options: OverrideOptions): Promise<string> {
  const { image } = options;
  const services = {
    postgres: { image, ...(await postgres()) },
    temporal: { image, ...(await temporal()) },
    // It has no place among what a rotation needs.
    'temporal-ui': { profiles: ['browser'] },
    litellm: { image, ...(await litellm()) },
    worker: await worker(docker, options),
  };
  const text = stringify({ name: options.name, services });
  return text.replaceAll(/^( +ports:)/gm, '$1 !override');
}

async function postgres() {
  const binaries = dirname(await realpath(join(await findPostgres(), 'initdb')));
  return {
    entrypoint: [join(here, 'postgres-entrypoint')],
    command: ['postgres', '-c', 'fsync=off'],
    environment: { PATH: `${binaries}:/usr/bin:/bin`, PGDATA: '/var/lib/postgresql/data' },
    volumes: [...machineMounts, readOnly(here), ...outsideUsr(join(binaries, '..'))],
  };
}

async function temporal() {
  return {
    entrypoint: ['temporal'],
    command: ['server', 'start-dev', '--ip', '0.0.0.0', '--headless', '--log-level', 'warn'],
    ports: ['127.0.0.1::7233'],
    volumes: [...machineMounts, readOnly(await findTemporalCli(), '/usr/local/bin/temporal')],
  };
}

async function litellm() {
  const { env, python } = await ensureLiteLLM();
  const { stdout: prefix } = await execa(python, ['-c', 'import sys; print(sys.base_prefix)']);
  return {
    entrypoint: [join(here, 'litellm-entrypoint')],
    environment: { ...env, LITELLM_ROTATE_CACHE: cacheDir() },
    ports: [`127.0.0.1:${await freeFixedPort()}:4000`],
    volumes: [
      ...machineMounts,
      ...[root, cacheDir(), process.execPath].map((path) => readOnly(path)),
      ...outsideUsr(prefix),
    ],
  };
}

/** `docker` and its plugin at the places where the Dockerfile puts them. */
async function worker(docker: Docker, { workerImage, socket, dist }: OverrideOptions) {
  const { stdout: command } = await execa('sh', ['-c', 'command -v docker'], { env: docker.env });
  const plugins = JSON.parse(
    await docker.run('info', '--format', '{{json .ClientInfo.Plugins}}'),
  ) as readonly { readonly Name: string; readonly Path: string }[];
  const compose = plugins.find(({ Name }) => Name === 'compose')?.Path ?? '';
  const files: [string, string][] = [
    [process.execPath, '/usr/local/bin/node'],
    [command, '/usr/local/bin/docker'],
    [compose, '/usr/local/libexec/docker/cli-plugins/docker-compose'],
    [join(root, 'packaging/worker-connected.sh'), '/usr/local/bin/worker-connected'],
    [dist, '/app/dist'],
    [join(root, 'node_modules'), '/app/node_modules'],
    [join(root, 'package.json'), '/app/package.json'],
  ];
  return {
    image: workerImage,
    volumes: [
      ...machineMounts,
      ...files.map(([source, target]) => readOnly(source, target)),
      { type: 'bind', source: socket, target: '/var/run/docker.sock' },
    ],
  };
}

function outsideUsr(directory: string): string[] {
  return directory === '/usr' || directory.startsWith('/usr/lib/') ? [] : [readOnly(directory)];
}
