import { execa } from 'execa';
import { mkdir, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { cached, once } from './cache.ts';
import { onPath } from './child.ts';
import { debianDocker } from './docker-packages.ts';
import { say, stopwatch } from './report.ts';
import { versions } from './versions.ts';

/** A `docker` command with the `compose` plugin. */
export interface Compose {
  /** What a process needs to find both, beside its own environment: PATH, and DOCKER_CONFIG where the plugin is ours. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Docker's command line with Compose: the machine's own, else Debian's command and a plugin that Go builds from source (a
 * minute or two, once). Needs no engine and no root: enough for `docker compose config`.
 *
 * @throws saying what is missing
 */
export async function ensureCompose(): Promise<Compose> {
  const since = stopwatch();
  const path = onPath('docker') === undefined ? await withDebianDocker() : (process.env.PATH ?? '');
  const own = await execa('docker', ['compose', 'version', '--short'], {
    env: { PATH: path },
    reject: false,
  });
  if (!own.failed) {
    say(`compose ${own.stdout} found (${since()})`);
    return { env: { PATH: path } };
  }
  const had = await cached('compose', versions.compose);
  const config = await once('compose', versions.compose, build);
  const env = { PATH: path, DOCKER_CONFIG: config };
  const { stdout } = await execa('docker', ['compose', 'version', '--short'], { env });
  say(`compose ${stdout} ${had ? 'found' : 'built'} in ${config} (${since()})`);
  return { env };
}

async function withDebianDocker(): Promise<string> {
  const directories = await debianDocker();
  return [process.env.PATH ?? '', ...directories].join(delimiter);
}

/** The plugin's module has `exclude` lines, which `go install` refuses: it is built as a requirement of a module of ours. */
async function build(config: string): Promise<void> {
  const go = onPath('go');
  if (go === undefined) throw new Error('no Docker Compose: install it, or Go to have it built from source');
  say(`compose ${versions.compose}: building from source, a minute or two, once`);
  const source = join(config, 'source');
  await mkdir(source);
  const requirement = `github.com/docker/compose/v2 v${versions.compose}`;
  await writeFile(join(source, 'go.mod'), `module lab\n\ngo 1.24.0\n\nrequire ${requirement}\n`);
  const plugin = join(config, 'cli-plugins/docker-compose');
  const flags = `-s -w -X github.com/docker/compose/v2/internal.Version=v${versions.compose}`;
  await execa(
    go,
    ['build', '-trimpath', '-ldflags', flags, '-o', plugin, 'github.com/docker/compose/v2/cmd'],
    {
      cwd: source,
      env: { GOFLAGS: '-modcacherw -mod=mod' },
    },
  );
}
