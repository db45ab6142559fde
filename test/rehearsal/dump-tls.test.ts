import { execFileSync, spawnSync } from 'node:child_process';
import { chown, copyFile, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { onPath } from '../../lab/child.ts';
import { withClient } from '../../lab/postgres.ts';
import { dumpAndRestore } from '../../src/rehearsal/dump.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { failure, never } from '../reencryption/database.ts';
import { useTestDatabase } from '../reencryption/database-hooks.ts';
import { cannotDump } from './dump-programs.ts';

/** The lab's own programs, which are used where the machine's are older than the server, are built without it. */
function withoutTls(): string | undefined {
  const env = { ...process.env, PGSSLMODE: 'require' };
  const { stderr } = spawnSync('pg_dump', ['--host=127.0.0.1', '--port=1'], { env, encoding: 'utf8' });
  return stderr.includes('SSL support is not compiled in') ? 'pg_dump is built without TLS' : undefined;
}

const why =
  onPath('openssl') === undefined ? 'openssl is not installed' : ((await cannotDump()) ?? withoutTls());
if (why !== undefined) console.log(`no dump is made over TLS: ${why}`);
const lab = useTestDatabase();
let directory: string;
let certificate: string;

/** A server with a certificate of its own making, and another of the same name that somebody else has made. */
beforeAll(async () => {
  if (why !== undefined) return;
  directory = await mkdtemp(join(tmpdir(), 'litellm-rotate-tls-'));
  certificate = join(directory, 'server.crt');
  for (const name of ['server', 'stranger']) {
    const [key, crt] = [join(directory, `${name}.key`), join(directory, `${name}.crt`)];
    const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'];
    execFileSync('openssl', ['req', '-x509', '-nodes', '-keyout', key, '-out', crt, ...subject], {
      stdio: 'ignore',
    });
  }
  const { dataDirectory, adminUrl } = lab.server;
  const { uid, gid } = await stat(dataDirectory);
  for (const name of ['server.key', 'server.crt']) {
    await copyFile(join(directory, name), join(dataDirectory, name));
    await chown(join(dataDirectory, name), uid, gid);
  }
  await withClient(adminUrl, (client) => client.query('alter system set ssl = on'));
  await withClient(adminUrl, (client) => client.query('select pg_reload_conf()'));
});
afterAll(async () => why === undefined && rm(directory, { recursive: true }));

const copy = async (parameters: string) => {
  const name = `copy_${Math.random().toString(36).slice(2)}`;
  await lab.server.createDatabase(name);
  const to = new Secret(lab.server.url(name));
  const searchPath = process.env.PATH ?? '';
  const options = { from: new Secret(`${lab.url}?${parameters}`), to, schema: 'public', searchPath };
  return dumpAndRestore({ ...options, withoutRows: [], without: [] }, never);
};
const reach = (parameters: string) =>
  withClient(`${lab.url}?${parameters}`, (client) => client.query('select 1'));

describe.skipIf(why !== undefined)('pg_dump trusts the servers that the driver does, and no other', () => {
  test.for([
    'sslmode=verify-full',
    'sslmode=require',
    'sslmode=prefer',
    'ssl=true',
    'sslmode=require&sslrootcert=STRANGER',
    'uselibpqcompat=true&sslmode=verify-ca&sslrootcert=STRANGER',
  ])('not one of an unknown authority: %s', async (parameters) => {
    const given = parameters.replace('STRANGER', join(directory, 'stranger.crt'));
    await expect(reach(given)).rejects.toThrow(/certificate/);
    expect(await failure(copy(given))).toMatchObject({
      type: 'DatabaseFailed',
      message: expect.stringMatching(/^pg_dump ended with 1: .*certificate/) as string,
    });
  });

  test.for([
    'sslmode=require&sslrootcert=SERVER',
    'sslmode=verify-ca&sslrootcert=SERVER',
    'uselibpqcompat=true&sslmode=verify-ca&sslrootcert=SERVER',
    'uselibpqcompat=true&sslmode=require',
    'sslmode=no-verify',
    'sslmode=disable',
    '',
  ])('one that the connection string is content with: %s', async (parameters) => {
    const given = parameters.replace('SERVER', certificate);
    await reach(given);
    await copy(given);
  });
});
