import { DatabaseError } from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';

/** Names from PostgreSQL's appendix "Error Codes", for those that a rotation may meet. */
const conditions: Readonly<Record<string, string>> = {
  '08003': 'connection_does_not_exist',
  '08006': 'connection_failure',
  '22001': 'string_data_right_truncation',
  '23502': 'not_null_violation',
  '23503': 'foreign_key_violation',
  '23505': 'unique_violation',
  '23514': 'check_violation',
  '25006': 'read_only_sql_transaction',
  '25P03': 'idle_in_transaction_session_timeout',
  '26000': 'invalid_sql_statement_name',
  '28000': 'invalid_authorization_specification',
  '28P01': 'invalid_password',
  '3D000': 'invalid_catalog_name',
  '3F000': 'invalid_schema_name',
  '40001': 'serialization_failure',
  '40P01': 'deadlock_detected',
  '42501': 'insufficient_privilege',
  '42P04': 'duplicate_database',
  '42P05': 'duplicate_prepared_statement',
  '42703': 'undefined_column',
  '42P01': 'undefined_table',
  '53100': 'disk_full',
  '53200': 'out_of_memory',
  '53300': 'too_many_connections',
  '54000': 'program_limit_exceeded',
  '55000': 'object_not_in_prerequisite_state',
  '55006': 'object_in_use',
  '55P03': 'lock_not_available',
  '57014': 'query_canceled',
  '57P01': 'admin_shutdown',
  '57P02': 'crash_shutdown',
  '57P03': 'cannot_connect_now',
  P0001: 'raise_exception',
};

const ownAddress =
  "a pooler in transaction mode stands in between: give the rotation Postgres' own address (Prisma's DIRECT_URL)";

const advice: Readonly<Record<string, string>> = {
  '26000': ownAddress,
  '42501': "grant the rotation's role SELECT and UPDATE on LiteLLM's tables, and CREATE on the database",
  '42P05': ownAddress,
  '53100': 'make room on the disk of Postgres, then try again',
  '53300': 'raise max_connections or end idle sessions, then try again',
  '55000':
    'give each table of a publication that publishes updates a primary key or a replica identity, then try again',
  '55P03': 'end the session that holds the lock, or raise the lock timeout, then try again',
  '57014': 'raise the statement timeout, or look for what slows the database down',
};

/** What Postgres or the network said, in words that hold no row: for the error's own message and its DETAIL may. */
export function databaseError(error: unknown, doing: string): RotationError {
  if (error instanceof RotationError) return error;
  if (error instanceof DatabaseError && error.code !== undefined) return refusedBy(error, error.code, doing);
  const code = errorCode(error);
  if (code !== undefined) {
    return failed(
      `Postgres cannot be reached (${code}) while ${doing}; check that it runs and where the connection string points`,
      { code },
    );
  }
  if (isLostConnection(error)) {
    return failed(
      `the connection to Postgres was lost while ${doing}; what was not committed is undone, and a retry looks first`,
      {
        code: 'CONNECTION_LOST',
      },
    );
  }
  return new RotationError(
    failureTypes.unexpected,
    `${errorName(error)} while ${doing}; its text is withheld, because it could hold a row's value`,
  );
}

/** The SQLSTATE of an error that `databaseError` made, if Postgres gave one. */
export function sqlState(error: unknown): string | undefined {
  if (error instanceof DatabaseError) return error.code;
  if (error instanceof RotationError) return error.facts?.sqlState as string | undefined;
  return undefined;
}

function refusedBy(error: DatabaseError, code: string, doing: string): RotationError {
  const condition = conditions[code] ?? `class ${code.slice(0, 2)}`;
  // RAISE ... USING TABLE = may put anything into these fields; only those that Postgres itself fills in are names.
  const named = error.routine !== undefined && error.routine !== 'exec_stmt_raise';
  const place = named
    ? [
        error.table === undefined ? undefined : `table ${error.table}`,
        error.column === undefined ? undefined : `column ${error.column}`,
        error.constraint === undefined ? undefined : `constraint ${error.constraint}`,
      ].filter((part) => part !== undefined)
    : [];
  const where = place.length > 0 ? ` (${place.join(', ')})` : '';
  const hint = advice[code] === undefined ? '' : `; ${advice[code]}`;
  const facts: Record<string, unknown> = { sqlState: code, condition };
  const message = `Postgres refused with ${code} ${condition}${where} while ${doing}; nothing of that transaction was kept${hint}`;
  // A right that is missing is not there a second later either.
  return code === '42501'
    ? new RotationError(failureTypes.refused, message, { facts })
    : failed(message, facts);
}

function failed(message: string, facts: Record<string, unknown>): RotationError {
  return new RotationError(failureTypes.databaseFailed, message, { facts });
}

export function errorCode(error: unknown): string | undefined {
  if (error instanceof AggregateError) return errorCode(error.errors[0]);
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^E[A-Z_]+$/.test(code) ? code : undefined;
}

/** A server without TLS, in pg's own words (connection.js). */
export function offersNoTls(error: unknown): boolean {
  return error instanceof Error && error.message === 'The server does not support SSL connections';
}

/** No TLS, or a code of Node's for a certificate that it does not trust. */
export function tlsFault(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if (offersNoTls(error)) return 'it offers none';
  const code = 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /CERT|^UNABLE_TO_|^ERR_(TLS|SSL)_/.test(code) ? code : undefined;
}

/** pg has no code for these; the texts are its own (client.js, pg-pool's index.js). */
export function isLostConnection(error: unknown): boolean {
  return (
    error instanceof Error &&
    /^(Connection terminated|Client has encountered a connection error|timeout (expired|exceeded)|Query read timeout|Client was closed)/.test(
      error.message,
    )
  );
}

function errorName(error: unknown): string {
  return error instanceof Error ? error.name : 'an error';
}
