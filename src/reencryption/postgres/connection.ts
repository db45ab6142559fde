import { Pool, type ClientBase, type PoolClient } from 'pg';
import type { Secret } from '../../rotation/secret.ts';
import { connectionError } from './connection-error.ts';
import { readTarget } from './connection-target.ts';
import { databaseError, isLostConnection } from './database-error.ts';
import { sessionSettings } from './session-settings.ts';

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

/**
 * How long an answer is waited for, in ms. Postgres itself ends a statement before that, so there is no Postgres left to
 * answer, or something in between keeps the connection open without it. Twice the statement timeout: a text may hold two
 * long statements, or wait for the one before it.
 */
const answerTimeoutMs = (statementTimeoutMs: number): number =>
  Math.min(2 * statementTimeoutMs + 5_000, longestTimerMs);

const longestTimerMs = 2 ** 31 - 1;

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
    // Then ten probes a second apart (libuv): else the kernel's two hours, with LiteLLM stopped.
    keepAliveInitialDelayMillis: 10_000,
    query_timeout: answerTimeoutMs(statementTimeoutMs),
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
    // Where no answer came, it would wait as long behind the statement; the session is ended instead.
    if (!isLostConnection(error)) await client.query('rollback').catch(() => undefined);
    throw error;
  }
}
