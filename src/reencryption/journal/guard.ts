import type pg from 'pg';
import { createValueCipher } from '../../litellm/cipher.ts';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { NamedKey } from '../../rotation/keys.ts';
import type { Secret } from '../../rotation/secret.ts';
import { prismaSession } from '../postgres/prisma-session.ts';
import { tokenTable } from '../postgres/table-role.ts';
import { journalSchema } from './journal.ts';

const plaintext = Buffer.from('litellm-rotate guard');
const write = `
  insert into ${journalSchema}.guard (sealed) values ($1)
  on conflict (only_row) do update set sealed = excluded.sealed`;
const read = `select sealed from ${journalSchema}.guard`;
// By the catalog, which every role may read: to_regclass fails for one that may not look into the schema.
const planted = `
  select current_user as role, has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT') as readable
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = '${journalSchema}' and c.relname = 'guard'`;
// Only what is missing: two that grant at once fail, and one of them may be behind the fence.
const cannotRead = `
  select rolname as role from pg_roles where rolname = coalesce($1, (select pg_get_userbyid(c.relowner)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $2 and c.relname = '${tokenTable}'))
    and not (has_schema_privilege(rolname, '${journalSchema}', 'USAGE') and has_table_privilege(rolname, '${journalSchema}.guard', 'SELECT'))`;

/**
 * Leaves a text sealed with the key that the database is under from this transaction on, where LiteLLM's own role can
 * read it: a host that starts LiteLLM with another key, because it rebooted in the middle of a cutover, is told so.
 */
export async function plantGuard(
  client: pg.ClientBase,
  schema: string,
  proxyRole: string | undefined,
  { key }: NamedKey,
): Promise<void> {
  const sealed = createValueCipher(key).seal(plaintext, { format: 'v2', marker: '', alphabet: 'urlsafe' });
  await client.query(write, [sealed]);
  await openGuard(client, schema, proxyRole);
}

/**
 * Lets LiteLLM's role ask the guard. From the journal's beginning: without that, a LiteLLM that is started between a plan
 * and the first cutover could not tell that there is nothing to hold its key against.
 */
export async function openGuard(
  client: pg.ClientBase,
  schema: string,
  proxyRole: string | undefined,
): Promise<void> {
  const { rows } = await client.query<{ role: string }>(cannotRead, [proxyRole ?? null, schema]);
  if (rows[0] === undefined) return;
  const name = client.escapeIdentifier(rows[0].role);
  await client.query(`grant usage on schema ${journalSchema} to ${name}`);
  await client.query(`grant select on ${journalSchema}.guard to ${name}`);
}

/** Whether the key is the one that the database is under; undefined where nothing was ever rotated. */
export async function opensGuard(client: pg.ClientBase, key: Secret): Promise<boolean | undefined> {
  const sealed = (await client.query<{ sealed: string }>(read)).rows[0]?.sealed;
  return sealed === undefined ? undefined : createValueCipher(key).open(sealed) !== undefined;
}

/** What the guard found: whether a service may start with a key. */
export type GuardAnswer =
  /** The key opens what stands in the database. */
  | 'opens'
  /** Nothing was ever rotated here, so there is nothing to hold the key against. */
  | 'nothing to open'
  /** The database is under another key. */
  | 'another key';

/**
 * Holds the key that seals against the database. Throws `DatabaseFailed` or `DatabaseMisconfigured` when it cannot be asked.
 * A server that nobody has verified could refuse a key that opens, or pass one that does not: no more than it could do to
 * LiteLLM, which sends it the same password next.
 */
export async function askGuard(connectionString: Secret, key: Secret): Promise<GuardAnswer> {
  return prismaSession(connectionString, 'asking the guard', async (client) => {
    const [found] = (await client.query<{ role: string; readable: boolean }>(planted)).rows;
    if (found === undefined) return 'nothing to open';
    if (!found.readable) throw anotherRole(found.role);
    const opens = await opensGuard(client, key);
    return opens === undefined ? 'nothing to open' : opens ? 'opens' : 'another key';
  });
}

function anotherRole(role: string): RotationError {
  return new RotationError(
    failureTypes.databaseFailed,
    `found that role ${role} may not read ${journalSchema}.guard; expected the role that rotations take for LiteLLM's; set database.proxyRole to ${role} in the worker's configuration, and run: litellm-rotate plan TARGET`,
  );
}
