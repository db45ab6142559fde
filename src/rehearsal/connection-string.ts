import type { ConnectionOptions } from 'node:tls';
import { Client } from 'pg';
import { Secret } from '../rotation/secret.ts';

/** The name of a rotation's clone. Lower case and short enough for Postgres, which cuts names at 63 bytes. */
export function cloneName(rotation: string): string {
  return `litellm_rotate_rehearsal_${rotation
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, '')
    .slice(0, 32)}`;
}

/** The same server and role, another database. Prisma takes the schema from the string alone. */
export function withDatabase(connectionString: Secret, database: string, schema: string): Secret {
  const url = new URL(connectionString.reveal());
  url.pathname = `/${database}`;
  if (schema === 'public') url.searchParams.delete('schema');
  else url.searchParams.set('schema', schema);
  return new Secret(url.href);
}

/** Where a connection string leads, as the driver reads it. Holds no password. */
export function addressOf(connectionString: Secret): {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
} {
  const {
    host,
    port,
    database = '',
    user = '',
  } = new Client({ connectionString: connectionString.reveal() });
  return { host, port, database, user };
}

/** Parameters of a connection string that libpq reads from the environment, too (PostgreSQL, "Environment Variables"). */
const libpqParameters: Readonly<Record<string, string>> = {
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  options: 'PGOPTIONS',
  connect_timeout: 'PGCONNECT_TIMEOUT',
};

/** The connection for a program of Postgres', in its environment: a command line can be read by everybody on the machine. */
export function libpqEnvironment(connectionString: Secret): Record<string, string> {
  const client = new Client({ connectionString: connectionString.reveal() });
  const parameters = URL.parse(connectionString.reveal())?.searchParams;
  const given = Object.entries(libpqParameters).flatMap(([name, variable]) => {
    const value = parameters?.get(name);
    return value === null || value === undefined ? [] : [[variable, value] as const];
  });
  return {
    PGHOST: client.host,
    PGPORT: `${client.port}`,
    PGDATABASE: client.database ?? '',
    PGUSER: client.user ?? '',
    ...(typeof client.password === 'string' ? { PGPASSWORD: client.password } : {}),
    PGAPPNAME: 'litellm-rotate',
    ...tlsEnvironment(client, parameters),
    ...Object.fromEntries(given),
  };
}

/** As the driver has read it: libpq takes `require` for TLS with whoever answers, and nothing for whatever is offered. */
function tlsEnvironment(client: Client, parameters: URLSearchParams | undefined): Record<string, string> {
  const ssl = client.ssl as boolean | ConnectionOptions;
  if (ssl === false) return { PGSSLMODE: parameters?.get('sslmode') ?? 'prefer' };
  const { rejectUnauthorized = true, checkServerIdentity } = ssl === true ? {} : ssl;
  if (!rejectUnauthorized) return { PGSSLMODE: 'require' };
  return {
    PGSSLMODE: checkServerIdentity === undefined ? 'verify-full' : 'verify-ca',
    // Else libpq looks for one in a home. It knows the system's authorities from 16 on, and says so before.
    PGSSLROOTCERT: parameters?.get('sslrootcert') ?? 'system',
  };
}
