import { DatabaseError } from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import { databaseError, errorCode, isLostConnection, tlsFault } from './database-error.ts';

/** Whose connection string it is: where it is corrected, and what says how it is read. */
export interface ReadBy {
  readonly reread: string;
  readonly tls: string;
}

const worker: ReadBy = {
  reread: 'in the connection string, which a worker reads at its start',
  tls: 'sslmode and sslrootcert (docs/configuration.md)',
};

/** What no second attempt mends, by SQLSTATE or by the resolver's code. */
const mistakes = (reread: string): Readonly<Record<string, readonly [found: string, next: string]>> => ({
  '28P01': [
    'that it refuses the user or the password (28P01 invalid_password)',
    `correct them ${reread}, or give the role that password`,
  ],
  '28000': [
    'that it does not let this user in (28000 invalid_authorization_specification)',
    `correct the user or sslmode ${reread}, or give the role LOGIN and a line of pg_hba.conf that fits it`,
  ],
  '3D000': ['no database of that name (3D000 invalid_catalog_name)', `correct the name ${reread}`],
  ENOTFOUND: ['no host of that name (ENOTFOUND)', `correct the host ${reread}, or have its name resolved`],
});

/**
 * Why no session could be had: `DatabaseMisconfigured` where the connection string is wrong, and `DatabaseFailed` where
 * Postgres or the network may be about to come back.
 */
export function connectionError(error: unknown, description: string, by: ReadBy = worker): RotationError {
  const { databaseMisconfigured, databaseFailed } = failureTypes;
  const code = error instanceof DatabaseError ? error.code : errorCode(error);
  const facts = error instanceof DatabaseError ? { sqlState: code } : { code: code ?? 'CONNECTION_LOST' };
  const mistake = findMistake(error, by, code);
  if (mistake !== undefined) {
    const [found, next] = mistake;
    const message = `${description}: found ${found}; expected a session; ${next}`;
    return new RotationError(databaseMisconfigured, message, { facts });
  }
  if (error instanceof DatabaseError || (code === undefined && !isLostConnection(error)))
    return databaseError(error, `connecting to ${description}`);
  const found =
    code ?? ((error as Error).message.includes('timeout') ? 'no answer in time' : 'closed at once');
  return new RotationError(
    databaseFailed,
    `${description}: found no Postgres that answers (${found}); expected one; check that it runs, and the host and the port ${by.reread}`,
    { facts },
  );
}

function findMistake(
  error: unknown,
  { reread, tls: parameters }: ReadBy,
  code = '',
): readonly [found: string, next: string] | undefined {
  const tls = tlsFault(error);
  if (tls !== undefined)
    return [`that it was not spoken to by TLS (${tls})`, `correct ${parameters} ${reread}`];
  // pg's own words (crypto/sasl.js), before it sends anything.
  if (error instanceof Error && /client password must be a (non-empty )?string$/.test(error.message))
    return ['that it asks for a password, and none to give', `write one ${reread}`];
  return mistakes(reread)[code];
}
