import { execa } from 'execa';
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, chown, cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Client, escapeIdentifier as quoted, escapeLiteral } from 'pg';
import { type Child, freePort, startChild, untilReady } from './child.ts';
import { untilStopped } from './cleanup.ts';
import { findPostgres, type PostgresMajor } from './postgres-binaries.ts';

export interface PostgresOptions {
  /** Whether a commit waits for the disk. @default false: what a test loses with the machine's power, it can make again */
  readonly fsync?: boolean;
  /** Further settings of postgresql.conf, by name. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The major version of Postgres. @default `LITELLM_ROTATE_POSTGRES`, else any that is installed */
  readonly major?: PostgresMajor | undefined;
}

/** A throw-away Postgres on 127.0.0.1, with password authentication, gone with its data when it is stopped for good. */
export interface Postgres {
  readonly host: '127.0.0.1';
  readonly port: number;
  /** The connection string of the superuser `postgres`, for the database `postgres`. It holds a password. */
  readonly adminUrl: string;
  readonly dataDirectory: string;
  readonly log: string;
  /** The connection string for a database, by the superuser or by a role that `createUser` made. */
  url(database: string, user?: string): string;
  /** A role that can log in. It has no other rights but those of PUBLIC. */
  createUser(user: string): Promise<void>;
  /** A new database, empty or a copy of `template`, to which nobody may be connected. */
  createDatabase(name: string, template?: string): Promise<void>;
  /** Stops the server, if need be like a crash (`immediate`), and starts it again on the same port and data. */
  restart(mode?: StopMode): Promise<void>;
  /** Stops the server and removes its data. */
  stop(mode?: StopMode): Promise<void>;
}

/** `fast` ends the sessions and writes a checkpoint; `immediate` leaves all to recovery, like a crash. */
export type StopMode = 'fast' | 'immediate';

const stopSignals = { fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

/** Starts a new, empty Postgres on a free port. About 1 s, most of it `initdb`. */
export async function startPostgres(options: PostgresOptions = {}): Promise<Postgres> {
  const user = await unprivileged();
  const home = await mkdtemp(join(tmpdir(), 'litellm-rotate-postgres-'));
  const binaries = await reachable(await findPostgres(options.major), home, user);
  const [dataDirectory, log, passwordFile] = [join(home, 'data'), join(home, 'log'), join(home, 'password')];
  const password = randomBytes(24).toString('base64url');
  await writeFile(passwordFile, password, { mode: 0o600 });
  await writeFile(log, '', { mode: 0o600 });
  if (user !== undefined) {
    for (const path of [home, log, passwordFile]) await chown(path, user.uid, user.gid);
  }

  const env = { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' };
  const as = { ...user, env, cwd: home };
  const initdb = [
    '--auth=scram-sha-256',
    '--username=postgres',
    `--pwfile=${passwordFile}`,
    '--encoding=UTF8',
    '--no-sync',
  ];
  await execa(join(binaries, 'initdb'), ['-D', dataDirectory, ...initdb, '--locale=C'], {
    ...as,
    extendEnv: false,
  });
  await rm(passwordFile);

  const port = await freePort();
  const url = (database: string, name = 'postgres'): string =>
    `postgresql://${name}:${password}@127.0.0.1:${port}/${database}`;
  const settings = {
    listen_addresses: '127.0.0.1',
    port: `${port}`,
    unix_socket_directories: '',
    max_connections: '200',
    fsync: options.fsync === true ? 'on' : 'off',
    ...options.settings,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);

  const start = async (): Promise<Child> => {
    const child = await startChild(join(binaries, 'postgres'), ['-D', dataDirectory, ...flags], {
      ...as,
      log,
      deathSignal: 'QUIT',
    });
    await untilReady('postgres', child, log, 30_000, () => withClient(url('postgres'), async () => true));
    return child;
  };
  let child = await start();
  let mode: StopMode = 'fast';
  const stop = untilStopped(
    async () => {
      await child.stop(stopSignals[mode], 20_000);
      await rm(home, { recursive: true, force: true });
    },
    () => child.abandon(),
  );

  const admin = (sql: string): Promise<unknown> => withClient(url('postgres'), (client) => client.query(sql));
  return {
    host: '127.0.0.1',
    port,
    adminUrl: url('postgres'),
    dataDirectory,
    log,
    url,
    async createUser(name) {
      await admin(`create role ${quoted(name)} login password ${escapeLiteral(password)}`);
    },
    async createDatabase(name, template = 'template0') {
      await admin(`create database ${quoted(name)} template ${quoted(template)}`);
    },
    async restart(restartMode = 'fast') {
      await child.stop(stopSignals[restartMode], 20_000);
      child = await start();
    },
    stop(stopMode = 'fast') {
      mode = stopMode;
      return stop();
    },
  };
}

/** Lends a connected client. */
export async function withClient<T>(url: string, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined); // a lost connection shows in the query that fails
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** `initdb` and `postgres` refuse to run as root: then they run as the user `postgres`, or `nobody`. */
async function unprivileged(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    const { stdout, failed } = await execa('id', ['-u', name], { reject: false });
    if (failed) continue;
    return { uid: Number(stdout), gid: Number((await execa('id', ['-g', name])).stdout) };
  }
  throw new Error('Postgres cannot run as root, and there is neither a user postgres nor nobody');
}

/** Binaries in root's own cache cannot be executed by the other user: they are copied beside the data. */
async function reachable(binaries: string, home: string, user: Account | undefined): Promise<string> {
  if (user === undefined) return binaries;
  const probe = await execa(join(binaries, 'postgres'), ['--version'], { ...user, cwd: '/', reject: false });
  if (!probe.failed) return binaries;
  await access(binaries, constants.X_OK);
  await chmod(home, 0o711);
  await cp(dirname(binaries), join(home, 'postgres'), { recursive: true, verbatimSymlinks: true });
  return join(home, 'postgres/bin');
}
