import { askGuard } from './reencryption/journal/guard.ts';
import { failureTypes, RotationError } from './rotation/failure.ts';
import { Secret } from './rotation/secret.ts';

export interface GuardOptions {
  /** The variable with LiteLLM's own connection string. */
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
  const url = env[names.databaseUrl];
  if (url === undefined || url === '') throw missing(names.databaseUrl);
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

function missing(name: string): RotationError {
  return new RotationError(
    failureTypes.badRequest,
    `found no ${name} in the environment; expected the environment that LiteLLM is started with; in a unit, EnvironmentFile= serves ExecStartPre= too`,
  );
}
