import { randomBytes } from 'node:crypto';
import { Secret } from '../rotation/secret.ts';

/**
 * A new master or salt key: `sk-` and 256 random bits as 43 base64url characters. LiteLLM's authentication wants the
 * prefix of a master key; the alphabet needs no quoting in any shell, environment file or YAML.
 */
export function generateKey(): Secret {
  return new Secret(`sk-${randomBytes(32).toString('base64url')}`);
}
