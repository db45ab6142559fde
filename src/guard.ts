import { askGuard } from './reencryption/journal/guard.ts';
import { failureTypes, RotationError } from './rotation/failure.ts';
import { Secret } from './rotation/secret.ts';

export interface GuardOptions {
  /** The variable with LiteLLM's own connection string; where it is not set, that is made as LiteLLM makes it. */
  readonly databaseUrl: string;
  readonly masterKey: string;
  readonly saltKey: string;
}

/**
 * Refuses to let LiteLLM start with a key that cannot open its database: for `ExecStartPre=` of its unit, or in front
 * of its command in a container. Reads the environment that LiteLLM would get. Resolves with one line for the log;
 * throws `WrongKey`, or one of the database's failures when it cannot be asked, as LiteLLM could not serve then either.
 */
export async function guard(env: NodeJS.ProcessEnv, names: GuardOptions): Promise<string> {
  const url = env[names.databaseUrl] ?? assembledUrl(env);
  if (url === undefined || url === '') throw noConnectionString(names.databaseUrl);
  // An empty salt key counts as set: LiteLLM 1.106 to 1.109, `get_salt_key` in encrypt_decrypt_utils.py.
  const salt = env[names.saltKey];
  const key = salt ?? env[names.masterKey];
  if (key === undefined) throw missing(names.masterKey);
  const name = salt === undefined ? names.masterKey : names.saltKey;
  switch (await askGuard(new Secret(url), new Secret(key))) {
    case 'opens':
      return `${name} opens the database`;
    case 'nothing to open':
      return `found nothing in the database to hold ${name} against: no rotation was made in it, or one was taken back by hand`;
    case 'another key':
      throw new RotationError(
        failureTypes.wrongKey,
        `${name}: found a key that does not open the database, which is under another one; expected the key of the last cutover; ` +
          'a rotation is probably in its middle: run "litellm-rotate status", or "litellm-rotate reconcile TARGET" if its workflow has ended',
      );
  }
}

/** LiteLLM 1.106 to 1.109, `construct_database_url_from_env_vars` in proxy/utils.py; without a password, it may be one with a token. */
function assembledUrl(env: NodeJS.ProcessEnv): string | undefined {
  const { DATABASE_HOST, DATABASE_USERNAME, DATABASE_PASSWORD, DATABASE_NAME } = env;
  const [user, password, name] = [DATABASE_USERNAME, DATABASE_PASSWORD, DATABASE_NAME].map((part) =>
    encodeURIComponent(part ?? ''),
  );
  if (!DATABASE_HOST || !user || !password || !name) return undefined;
  const authority = env['DATABASE_SSLROOTCERT'] ?? '';
  const sslmode = env['DATABASE_SSLMODE'] || (authority === '' ? '' : 'verify-full');
  const given = Object.entries({ sslmode, sslrootcert: authority }).filter(([, value]) => value !== '');
  return `postgresql://${user}:${password}@${DATABASE_HOST}/${name}?${new URLSearchParams(given).toString()}`;
}

function noConnectionString(name: string): RotationError {
  return new RotationError(
    failureTypes.badRequest,
    `found no ${name} in the environment, nor all of DATABASE_HOST, DATABASE_USERNAME, DATABASE_PASSWORD and DATABASE_NAME; ` +
      "expected LiteLLM's connection string; where LiteLLM has it from its config.yaml, or makes it with a token, write one with a password " +
      "into a file that the unit's EnvironmentFile= names, which serves ExecStartPre= too, and name its variable by --database-url",
  );
}

function missing(name: string): RotationError {
  return new RotationError(
    failureTypes.badRequest,
    `found no ${name} in the environment; expected the environment that LiteLLM is started with; in a unit, EnvironmentFile= serves ExecStartPre= too`,
  );
}
