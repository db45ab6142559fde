import type pg from 'pg';
import { tokenForms } from '../../litellm/token-row.ts';
import type { Secret } from '../../rotation/secret.ts';
import { quote } from '../postgres/catalog.ts';
import { tokenTable } from '../postgres/table-role.ts';

/** How the master key stands in LiteLLM's table of virtual keys. */
export type TokenRow = 'none' | 'plain' | 'sha256';

const readColumns = `
  select a.attname as name, format_type(a.atttypid, -1) as type
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = $1 and c.relname = '${tokenTable}' and a.attnum > 0 and not a.attisdropped and a.attname = any ($2)
  order by a.attname = 'token' desc, a.attname`;

export interface TokenColumn {
  readonly name: string;
  readonly type: string;
}

/**
 * A key's row in each form, found by the digest of the key, $1: parameters can get into Postgres' log, if only those of a
 * statement that took long. LiteLLM takes no key but `sk-...`.
 */
export const isRowOf: Readonly<Record<Exclude<TokenRow, 'none'>, string>> = {
  sha256: 'token = $1',
  plain: `token like 'sk-%' and encode(sha256(convert_to(token, 'UTF8'::name)), 'hex') = $1`,
};

/** The form in which the key is there; plain counts, where a deployment has both. */
export async function findTokenRow(client: pg.ClientBase, schema: string, key: Secret): Promise<TokenRow> {
  if ((await tokenColumns(client, schema)).length === 0) return 'none';
  const { rows } = await client.query<{ plain: boolean }>(
    `select ${isRowOf.plain} as plain from ${tableOfTokens(schema)} where ${isRowOf.sha256} or ${isRowOf.plain}`,
    [tokenForms(key).sha256],
  );
  if (rows.length === 0) return 'none';
  return rows.some(({ plain }) => plain) ? 'plain' : 'sha256';
}

/** `token`, and those of the others that there are; none when the table does not exist. */
export async function tokenColumns(
  client: pg.ClientBase,
  schema: string,
  others: readonly string[] = [],
): Promise<readonly TokenColumn[]> {
  const { rows } = await client.query<TokenColumn>(readColumns, [schema, ['token', ...others]]);
  return rows[0]?.name === 'token' ? rows : [];
}

/** The table, as a name in SQL. */
export const tableOfTokens = (schema: string): string => `${quote(schema)}.${quote(tokenTable)}`;
