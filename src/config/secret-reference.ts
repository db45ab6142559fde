import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { parseEnv } from 'node:util';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import { Secret } from '../rotation/secret.ts';
import type { SecretReference } from './schema.ts';

/** `~/` of a path, for the user that runs this process. */
export function expandHome(path: string): string {
  return path.startsWith('~/') ? `${homedir()}${path.slice(1)}` : path;
}

/**
 * Resolves a reference to a secret. `where` names it in errors. Throws `BadRequest` when it is not there or empty, or
 * when its file can be read by others than its owner.
 */
export function resolveSecret(reference: SecretReference, where: string, env: NodeJS.ProcessEnv): Secret {
  if ('env' in reference)
    return present(
      env[reference.env],
      `${where}: found no value in the variable ${reference.env}; expected the secret; set it for this process (for doctor: set -a; . /etc/litellm-rotate/worker.env; set +a)`,
    );
  const path = expandHome(reference.file);
  let text: string;
  try {
    const { mode } = statSync(path);
    if ((mode & 0o077) !== 0) {
      throw bad(
        `${where}: found mode ${(mode & 0o777).toString(8).padStart(4, '0')} on ${path}; expected 0600 for a file with a secret; run: chmod 600 ${path}`,
      );
    }
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof RotationError) throw error;
    throw bad(
      `${where}: found ${(error as NodeJS.ErrnoException).code ?? 'an error'} when reading ${path}; expected a file that this process may read`,
    );
  }
  if (reference.name === undefined)
    return present(text.replace(/\r?\n$/, ''), `${where}: found an empty ${path}; expected the secret in it`);
  return present(
    parseEnv(text)[reference.name],
    `${where}: found no value for ${reference.name} in ${path}; expected the secret`,
  );
}

function present(value: string | undefined, problem: string): Secret {
  if (value === undefined || value === '') throw bad(problem);
  return new Secret(value);
}

function bad(message: string): RotationError {
  return new RotationError(failureTypes.badRequest, message);
}
