import { tmpdir } from 'node:os';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startLiteLLM } from './proxy.ts';

export interface OracleOptions {
  /** A copy: LiteLLM re-encrypts it in place. */
  readonly databaseUrl: string;
  /** The signing key that the values are sealed with. */
  readonly from: string;
  readonly to: string;
}

/**
 * Has LiteLLM's own boot migration (proxy/db/master_key_migration.py) re-encrypt a database, to compare ours with. It knows
 * master keys only, but with no salt key in the environment the master key is the signing key; so this serves for salt
 * keys as well. Returns the lines in which it says what it did.
 */
export async function oracleRotate({ databaseUrl, from, to }: OracleOptions): Promise<string[]> {
  const home = await mkdtemp(join(tmpdir(), 'litellm-rotate-oracle-'));
  const log = join(home, 'log');
  try {
    const extraEnv = { LITELLM_MIGRATE_FROM_MASTER_KEY: from };
    const proxy = await startLiteLLM({ databaseUrl, masterKey: to, extraEnv, log });
    await proxy.stop();
    const summary =
      /Done re-encrypting|Re-encrypt|is still set, but nothing|Could not migrate|nothing to migrate/;
    return (await readFile(log, 'utf8')).split('\n').filter((line) => summary.test(line));
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}
