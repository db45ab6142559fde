import { execa, execaSync } from 'execa';
import { chown, copyFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { onPath } from '../../lab/child.ts';
import { withClient } from '../../lab/postgres.ts';
import { cliPath } from '../../lab/worker.ts';
import { begin } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const why = onPath('openssl') === undefined ? 'openssl is not installed' : undefined;
if (why !== undefined) console.log(`the guard is not tested over TLS: ${why}`);

/** `litellm-rotate guard` with a DATABASE_URL, and with whatever else LiteLLM would get. */
async function guard(url: string, environment: Record<string, string> = {}) {
  const { exitCode, stderr } = await execa(process.execPath, [cliPath, 'guard'], {
    env: { DATABASE_URL: url, LITELLM_MASTER_KEY: 'sk-master', PATH: process.env['PATH'], ...environment },
    extendEnv: false,
    reject: false,
  });
  return { exitCode, stderr };
}
const passed = { exitCode: 0, stderr: expect.stringContaining('found nothing in the database') as string };

describe.skipIf(why !== undefined)('a server that lets LiteLLM in by TLS alone', () => {
  const lab = useTestDatabase();
  let directory: string;
  const file = (name: string) => join(directory, name);

  /** Its certificate is of its own making, as is the one that each client of `certified` must show. */
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'litellm-rotate-guard-'));
    const openssl = (...flags: string[]) => execaSync('openssl', flags, { cwd: directory });
    for (const name of ['server', 'stranger', 'certified']) {
      const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'];
      openssl('req', '-x509', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.crt`, ...subject);
    }
    const identity = ['-inkey', 'certified.key', '-in', 'certified.crt', '-out', 'certified.p12'];
    openssl('pkcs12', '-export', ...identity, '-passout', 'pass:p12-password');
    const { dataDirectory, adminUrl } = lab.server;
    const { uid, gid } = await stat(dataDirectory);
    for (const name of ['server.key', 'server.crt', 'certified.crt']) {
      await copyFile(file(name), join(dataDirectory, name));
      await chown(join(dataDirectory, name), uid, gid);
    }
    const rules = [
      'hostssl all proxy all scram-sha-256',
      'hostssl all certified all scram-sha-256 clientcert=verify-ca',
      'host all postgres all scram-sha-256',
    ];
    await writeFile(join(dataDirectory, 'pg_hba.conf'), `${rules.join('\n')}\n`);
    for (const setting of ['ssl = on', "ssl_ca_file = 'certified.crt'"])
      await withClient(adminUrl, (client) => client.query(`alter system set ${setting}`));
    for (const user of ['proxy', 'certified']) await lab.server.createUser(user);
    await lab.server.restart();
  });
  afterAll(async () => rm(directory, { recursive: true }));

  /** The values are of the server's directory of certificates, or as they are. */
  const url = (parameters: Record<string, string>, user = 'proxy'): string => {
    const made = new URL(lab.url);
    made.username = user;
    for (const [name, value] of Object.entries(parameters))
      made.searchParams.set(name, /\.(crt|p12)$/.test(value) ? file(value) : value);
    return made.href;
  };

  test.for<[parameters: Record<string, string>]>([
    [{}],
    [{ sslmode: 'prefer' }],
    [{ sslmode: 'require' }],
    [{ sslmode: 'require', sslaccept: 'accept_invalid_certs' }],
    // Prisma passes over these, and prefers TLS.
    [{ sslmode: 'allow' }],
    [{ sslkey: '/nowhere', ssl: 'false', sslnegotiation: 'direct' }],
    // Unless it is to be verified, it does not matter whose certificate it is.
    [{ sslmode: 'require', sslcert: 'stranger.crt' }],
    [{ sslmode: 'require', sslaccept: 'strict', sslcert: 'server.crt' }],
    // LiteLLM translates what libpq takes.
    [{ sslmode: 'verify-full', sslrootcert: 'server.crt' }],
    [{ sslmode: 'verify-ca', sslrootcert: 'server.crt' }],
  ])('is asked as Prisma asks it: %j', async ([parameters]) => {
    expect(await guard(url(parameters))).toMatchObject(passed);
  });

  test.for<[parameters: Record<string, string>]>([
    [{ sslaccept: 'strict' }],
    [{ sslmode: 'require', sslaccept: 'strict' }],
    [{ sslmode: 'require', sslaccept: 'strict', sslcert: 'stranger.crt' }],
    [{ sslmode: 'require', sslaccept: 'yes', sslcert: 'stranger.crt' }],
    [{ sslmode: 'verify-full' }],
    [{ sslmode: 'require', sslrootcert: 'stranger.crt' }],
  ])('is refused where its certificate is to be verified, and is not known: %j', async ([parameters]) => {
    const { exitCode, stderr } = await guard(url(parameters));
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /found that it was not spoken to by TLS \(.*CERT.*correct sslmode, sslaccept and sslcert/,
    );
  });

  test('is not asked without TLS where that is disabled', async () => {
    const { exitCode, stderr } = await guard(url({ sslmode: 'disable' }));
    expect(exitCode).toBe(1);
    expect(stderr).toContain('28000');
  });

  test('is shown the client certificate of sslidentity, which sslpassword opens', async () => {
    const identity = { sslidentity: 'certified.p12', sslpassword: 'p12-password' };
    expect(await guard(url(identity, 'certified'))).toMatchObject(passed);
    expect(await guard(url({}, 'certified'))).toMatchObject({ exitCode: 1 });
    const { exitCode, stderr } = await guard(url({ ...identity, sslpassword: 'hunter2' }, 'certified'));
    expect(exitCode).toBe(2);
    expect(stderr).toContain('found files of TLS that cannot be read');
    expect(stderr).not.toContain('hunter2');
  });

  test('is not asked when the file of its authority is not there, which is named', async () => {
    const { exitCode, stderr } = await guard(url({ sslaccept: 'strict', sslcert: 'none/root.crt' }));
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/found ENOENT when reading .*none\/root\.crt/);
  });
});

describe('a server without TLS', () => {
  const lab = useTestDatabase({ settings: { log_statement: 'all' } });
  let plain: string;
  beforeAll(() => lab.server.createUser('proxy'));
  beforeEach(() => {
    const made = new URL(lab.url);
    made.username = 'proxy';
    plain = made.href;
  });

  test.for(['', '?sslmode=prefer', '?sslmode=disable', '?sslaccept=strict'])(
    'is asked as it is, unless TLS is required: "%s"',
    async (query) => {
      expect(await guard(plain + query)).toMatchObject(passed);
    },
  );

  test('is not asked where TLS is required', async () => {
    const { exitCode, stderr } = await guard(`${plain}?sslmode=require`);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('found that it was not spoken to by TLS (it offers none)');
  });

  test("no session setting is left behind, which a pooler would hand on to LiteLLM's own statements", async () => {
    await begin(lab.rotationDatabase({ proxyRole: 'proxy' }));
    const before = (await readFile(lab.server.log, 'utf8')).length;
    expect(await guard(`${plain}?pgbouncer=true`)).toMatchObject(passed);
    const log = (await readFile(lab.server.log, 'utf8')).slice(before);
    expect(log).toContain('select sealed from litellm_rotate.guard');
    expect(log).not.toMatch(/statement: *(set|select set_config)/i);
  });
});
