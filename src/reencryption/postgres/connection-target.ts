import { Client } from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { Secret } from '../../rotation/secret.ts';

export interface ConnectionTarget {
  /** For people: the database and the host, never the user or the password. */
  readonly description: string;
  /** Prisma's `schema` parameter. */
  readonly schema: string | undefined;
  /** Prisma's `pgbouncer=true`. */
  readonly pooled: boolean;
}

/** What a connection string leads to. Throws `BadRequest`, which repeats nothing of it, when it cannot be read. */
export function readTarget(connectionString: Secret): ConnectionTarget {
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
