import { Client, Pool, escapeIdentifier, type ClientBase, type PoolClient } from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { Secret } from '../../rotation/secret.ts';
import { connectionError } from './connection-error.ts';
import { databaseError } from './database-error.ts';

/** How our sessions call themselves in pg_stat_activity. */
export const applicationName = 'litellm-rotate';

export interface ConnectionOptions {
  /** As LiteLLM has it in DATABASE_URL; Prisma's own parameters (`schema`, `connection_limit`, ...) are passed over. */
  readonly connectionString: Secret;
  /** LiteLLM's schema. @default the `schema` parameter of the connection string, else `public` */
  readonly schema?: string;
  /** How long a statement waits for a lock, in ms. @default 10_000 */
  readonly lockTimeoutMs?: number;
  /** How long a statement may run, in ms. @default 600_000 */
  readonly statementTimeoutMs?: number;
}

/** Sessions with timeouts, whose errors are `RotationError`s that name what was being done. */
export interface Connections {
  /** For people: the database and the host, never the user or the password. */
  readonly description: string;
  readonly schema: string;
  /** Whether the connection string says that a pooler stands in between (Prisma's `pgbouncer=true`). */
  readonly pooled: boolean;
  /**
   * Lends a session; each statement commits by itself. When the signal aborts, Postgres ends the session in the middle of
   * whatever it does.
   */
  session<T>(doing: string, use: (client: ClientBase) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Lends a session within a transaction, committed when `use` resolves and rolled back when it rejects. */
  transaction<T>(doing: string, mode: TransactionMode, use: (client: ClientBase) => Promise<T>): Promise<T>;
  /** Lends a session that reads in one snapshot, and is ended when the signal aborts. */
  survey<T>(
    doing: string,
    signal: AbortSignal | undefined,
    use: (client: ClientBase) => Promise<T>,
  ): Promise<T>;
  close(): Promise<void>;
}

export const transactionModes = {
  write: 'begin isolation level read committed',
  snapshot: 'begin isolation level repeatable read read only',
} as const;
export type TransactionMode = keyof typeof transactionModes;

// Behind a pooler, or after a restart of Postgres, the process may be another's by then.
const endSession = `
  select pg_terminate_backend(pid) from pg_stat_activity
  where pid = $1 and usename = current_user and application_name = '${applicationName}'`;

export function openConnections(options: ConnectionOptions): Connections {
  const { connectionString, lockTimeoutMs = 10_000, statementTimeoutMs = 600_000 } = options;
  const target = readTarget(connectionString);
  const schema = options.schema ?? target.schema ?? 'public';
  const settings = sessionSettings(schema, lockTimeoutMs, statementTimeoutMs);
  const pool = new Pool({
    connectionString: connectionString.reveal(),
    application_name: applicationName,
    max: 4,
    idleTimeoutMillis: 10_000,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    onConnect: async (client: ClientBase) => {
      await client.query(settings);
    },
  });
  // A session that breaks while it is idle is replaced; one in use reports by its query.
  pool.on('error', () => undefined);

  let closing: Promise<void> | undefined;

  async function session<T>(
    doing: string,
    use: (client: ClientBase) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    let client: PoolClient;
    try {
      client = await pool.connect();
    } catch (error) {
      throw connectionError(error, target.description);
    }
    const ignore = (): undefined => undefined;
    client.on('error', ignore);
    let broken = true;
    try {
      const result = await (signal === undefined ? use(client) : endedBy(signal, client, use));
      broken = false;
      return result;
    } catch (error) {
      throw databaseError(error, doing);
    } finally {
      client.off('error', ignore);
      if (broken) client.on('error', ignore);
      client.release(broken);
    }
  }

  /** Not by cancelling its statement: that is lost when it comes between two of them. */
  async function endedBy<T>(
    signal: AbortSignal,
    client: ClientBase,
    use: (client: ClientBase) => Promise<T>,
  ): Promise<T> {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    const end = () => {
      const ended = session('ending a session', (other) => other.query(endSession, [rows[0]?.pid]));
      // One that could not be ended is waited for.
      ended.catch(() => undefined);
    };
    signal.addEventListener('abort', end, { once: true });
    try {
      signal.throwIfAborted();
      return await use(client);
    } finally {
      signal.removeEventListener('abort', end);
    }
  }

  return {
    description: target.description,
    schema,
    pooled: target.pooled,
    session,
    transaction: (doing, mode, use) =>
      session(doing, (client) => inTransaction(client, mode, () => use(client))),
    survey: (doing, signal, use) =>
      session(doing, (client) => inTransaction(client, 'snapshot', () => use(client)), signal),
    close: () => (closing ??= pool.end()),
  };
}

/** A transaction of a lent session, committed when `use` resolves and rolled back when it rejects. */
export async function inTransaction<T>(
  client: ClientBase,
  mode: TransactionMode,
  use: () => Promise<T>,
): Promise<T> {
  await client.query(transactionModes[mode]);
  try {
    const result = await use();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

/**
 * A role's or a database's own limits would end the snapshot of a long stage, or a session that is lent and waits:
 * `transaction_timeout` (Postgres 17 and later) and `idle_session_timeout` (14 and later; its manual, "Statement Behavior").
 */
const endlessWhereKnown = `select set_config(name, '0', false)
  from unnest(array['transaction_timeout', 'idle_session_timeout']) as name where current_setting(name, true) is not null`;

/** Texts of values must not depend on the role's or the database's settings: they are compared later. */
function sessionSettings(schema: string, lockTimeoutMs: number, statementTimeoutMs: number): string {
  return [
    // Triggers of LiteLLM's find their tables by it; pg_catalog stands in front of it implicitly.
    `set search_path = ${escapeIdentifier(schema)}`,
    `set timezone = 'UTC'`,
    `set datestyle = 'ISO, MDY'`,
    `set intervalstyle = 'postgres'`,
    `set extra_float_digits = 1`,
    `set bytea_output = 'hex'`,
    // Off, an array's nulls would come back from its text as strings.
    `set array_nulls = on`,
    `set standard_conforming_strings = on`,
    `set cursor_tuple_fraction = 1`,
    // Room for the joins of the swap: the default spills a hash of ten thousand rows to disk, behind the fence.
    `set work_mem = '32MB'`,
    // Staged rows are looked up by their keys. At the default, the price of a disk's seek, Postgres would rather hash all of
    // a large table for a few of its rows, behind the fence.
    `set random_page_cost = 1.1`,
    // Compiling an expression for each of a hundred columns takes longer than it saves.
    `set jit = off`,
    // Where a policy would hide rows from us, Postgres is to refuse: they would stay under a key that goes.
    `set row_security = off`,
    `set client_min_messages = warning`,
    `set lock_timeout = ${Math.ceil(lockTimeoutMs)}`,
    `set statement_timeout = ${Math.ceil(statementTimeoutMs)}`,
    // A worker that is cut off must not hold LiteLLM's tables for longer than this.
    `set idle_in_transaction_session_timeout = 120000`,
    endlessWhereKnown,
  ].join(';');
}

function readTarget(connectionString: Secret): {
  readonly description: string;
  readonly schema: string | undefined;
  readonly pooled: boolean;
} {
  const text = connectionString.reveal();
  let client: Client;
  try {
    // Else pg takes any text for the name of a database, which is told.
    if (!/^postgres(ql)?:\/\//.test(text)) throw new Error('no connection string');
    client = new Client({ connectionString: text });
  } catch (error) {
    // pg reads the files that it names (pg-connection-string's index.js).
    const { code, path } = error as NodeJS.ErrnoException;
    if (code !== undefined && path !== undefined)
      throw new RotationError(
        failureTypes.badRequest,
        `the connection string of the database: found ${code} when reading ${path}; expected the file that its sslrootcert, sslcert or sslkey names`,
      );
    throw new RotationError(
      failureTypes.badRequest,
      'the connection string of the database cannot be parsed; expected postgresql://user:password@host:port/database, with special characters percent-encoded',
    );
  }
  const parameters = URL.parse(text)?.searchParams;
  return {
    description: `Postgres database ${client.database ?? '(default)'} on ${client.host}:${client.port}`,
    schema: parameters?.get('schema') ?? undefined,
    pooled: parameters?.get('pgbouncer') === 'true',
  };
}
