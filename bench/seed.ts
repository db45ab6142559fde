import { createLiteLLMDatabase } from '../lab/litellm/database.ts';
import type { Postgres } from '../lab/postgres.ts';
import { runPython } from './python.ts';

/** Keys of the benchmark's throw-away databases. */
export const benchKeys = { from: 'sk-bench-from', to: 'sk-bench-to' } as const;

export interface Filled {
  readonly values: number;
  /** Rows that hold them. */
  readonly rows: number;
}

/**
 * A database of LiteLLM's schema with at least `values` sealed values, beside virtual keys and request logs that hold none:
 * as many keys and twice as many logs as values, up to 100,000 and 200,000.
 */
export async function fillDatabase(
  postgres: Postgres,
  name: string,
  values: number,
  seed: number,
  plainKeys = Math.min(values, 100_000),
): Promise<Filled> {
  const url = await createLiteLLMDatabase(postgres, name);
  return runPython('seed', { url, key: benchKeys.from, values, seed, plainKeys, spendLogs: 2 * plainKeys });
}

/** Gives one row of ten that hold sealed values another row's: what is changed while a rotation is under way. */
export const changeTenth = [
  ['LiteLLM_ProxyModelTable', 'model_id', 'litellm_params'],
  ['LiteLLM_CredentialsTable', 'credential_id', 'credential_values'],
  ['LiteLLM_TeamTable', 'team_id', 'metadata'],
  ['LiteLLM_MCPUserCredentials', 'id', 'credential_b64'],
]
  .map(
    ([table, key, column]) => `
      with numbered as (select "${key}" as key, "${column}" as cell, row_number() over (order by "${key}") as n from "${table}")
      update "${table}" as a set "${column}" = other.cell from numbered as own join numbered as other on other.n = own.n - 1
      where a."${key}" = own.key and own.n % 10 = 0`,
  )
  .join(';');
