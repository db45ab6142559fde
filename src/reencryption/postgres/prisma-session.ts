import { readFileSync } from 'node:fs';
import {
  type ConnectionOptions,
  createSecureContext,
  getCACertificates,
  type SecureContextOptions,
} from 'node:tls';
import { Client, type ClientBase } from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import { Secret } from '../../rotation/secret.ts';
import { applicationName } from './connection.ts';
import { connectionError, type ReadBy } from './connection-error.ts';
import { readTarget } from './connection-target.ts';
import { databaseError, offersNoTls } from './database-error.ts';

const timeoutMs = 10_000;
const litellm: ReadBy = {
  reread: "in LiteLLM's own connection string",
  tls: 'sslmode, sslaccept and sslcert (README.md, step 6)',
};
/** What both Prisma and pg read of a connection string's parameters, and in the same sense. */
const shared = new Set(['host', 'options']);

/**
 * Lends a session as LiteLLM gets one by the same connection string: in Prisma's sense of it, which is not pg's. It sets
 * nothing, so that behind a pooler nothing of it is left to LiteLLM's own statements.
 */
export async function prismaSession<T>(
  connectionString: Secret,
  doing: string,
  use: (client: ClientBase) => Promise<T>,
): Promise<T> {
  const { target, mode, tls } = readAsPrisma(connectionString);
  const { description } = readTarget(target);
  let client: Client;
  try {
    client = await open(target, mode !== 'disable' && tls()).catch((error: unknown) => {
      if (mode === 'prefer' && offersNoTls(error)) return open(target, false);
      throw error;
    });
  } catch (error) {
    throw connectionError(error, description, litellm);
  }
  try {
    return await use(client);
  } catch (error) {
    throw databaseError(error, doing);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function open(target: Secret, ssl: ConnectionOptions | false): Promise<Client> {
  const client = new Client({
    connectionString: target.reveal(),
    ssl,
    application_name: applicationName,
    connectionTimeoutMillis: timeoutMs,
    // Not Postgres' own timeout: a pooler refuses a session that asks for one.
    query_timeout: timeoutMs,
  });
  client.on('error', () => undefined); // a lost connection shows in the query that fails
  await client.connect();
  return client;
}

/**
 * Prisma's engines, quaint/src/connector/postgres/url.rs: TLS where it is offered, with whoever answers, unless the
 * parameters say else. What libpq means by `verify-ca`, `verify-full` and `sslrootcert`, LiteLLM translates
 * (`translate_libpq_ssl_params` in its db_url_settings.py).
 */
function readAsPrisma(connectionString: Secret): {
  /** Without what pg would read in another sense. */
  readonly target: Secret;
  readonly mode: 'disable' | 'prefer' | 'require';
  readonly tls: () => ConnectionOptions;
} {
  const url = URL.parse(connectionString.reveal());
  const parameters = new Map(url?.searchParams);
  if (url !== null)
    url.search = new URLSearchParams([...parameters].filter(([name]) => shared.has(name))).toString();
  const sslmode = parameters.get('sslmode') ?? 'prefer';
  const verified = sslmode === 'verify-ca' || sslmode === 'verify-full';
  const strict = verified || parameters.has('sslrootcert') ? 'strict' : 'accept_invalid_certs';
  return {
    target: url === null ? connectionString : new Secret(url.href),
    mode: sslmode === 'disable' ? 'disable' : verified || sslmode === 'require' ? 'require' : 'prefer',
    tls: () => tlsOptions(parameters, (parameters.get('sslaccept') ?? strict) !== 'accept_invalid_certs'),
  };
}

function tlsOptions(parameters: ReadonlyMap<string, string>, verify: boolean): ConnectionOptions {
  const authority = parameters.get('sslcert') ?? parameters.get('sslrootcert');
  const identity = parameters.get('sslidentity');
  const options: SecureContextOptions = {};
  // Prisma adds the one that is named to the system's, which Node does not ask by itself.
  if (verify) options.ca = [...getCACertificates('default'), ...getCACertificates('system')];
  if (verify && authority !== undefined) options.ca = [...(options.ca as string[]), read(authority)];
  if (identity !== undefined) {
    options.pfx = read(identity);
    options.passphrase = parameters.get('sslpassword') ?? '';
  }
  try {
    return { rejectUnauthorized: verify, secureContext: createSecureContext(options) };
  } catch {
    throw unusable(
      'files of TLS that cannot be read',
      'PEM by sslcert, and PKCS #12 by sslidentity that sslpassword opens',
    );
  }
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw unusable(
      `${code} when reading ${path}`,
      'the absolute path of a file by sslcert, sslrootcert or sslidentity',
    );
  }
}

function unusable(found: string, expected: string): RotationError {
  return new RotationError(
    failureTypes.badRequest,
    `the connection string of the database: found ${found}; expected ${expected}`,
  );
}
