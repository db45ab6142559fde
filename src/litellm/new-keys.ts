import { randomBytes } from 'node:crypto';
import { Secret } from '../rotation/secret.ts';

/**
 * A new master or salt key: `sk-` and 256 random bits as 64 hexadecimal digits. LiteLLM's authentication wants the prefix
 * of a master key; the alphabet needs no quoting in any shell, environment file or YAML. With `general_settings.fips_mode`
 * on, LiteLLM takes no other salt key for its MCP credentials than at least 32 bytes in hex, with or without `sk-`.
 * Source: LiteLLM 1.110.2, `derive_key_from_salt_key` in proxy/common_utils/encrypt_decrypt_utils.py.
 */
export function generateKey(): Secret {
  return new Secret(`sk-${randomBytes(32).toString('hex')}`);
}
