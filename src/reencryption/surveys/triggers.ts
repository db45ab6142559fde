import type pg from 'pg';
import type { Finding } from '../../rotation/finding.ts';
import { quote, type Relation } from '../postgres/catalog.ts';
import type { Connections } from '../postgres/connection.ts';

/** A trigger that LiteLLM itself brings: it bumps a row of LiteLLM_Config at any update of an MCP server. */
const knownTriggers: ReadonlySet<string> = new Set(['litellm_mcp_catalog_revision']);

// tgtype: 1 for each row, 2 before, 16 on update.
const readTriggers = `
  select c.relname as table, t.tgname as name, t.tgtype::int & 1 = 1 and t.tgtype::int & 2 = 2 as before
  from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = $1 and c.relname = any ($2) and not t.tgisinternal and t.tgenabled <> 'D' and t.tgtype::int & 16 = 16
  order by 1, 2`;

const triggerTarget = 'LiteLLM_Config';
const mayInsert = `
  select current_user as role, has_table_privilege(c.oid, 'INSERT') as may
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = '${triggerTarget}'`;

/** Triggers that run when a row is re-encrypted. */
export async function judgeTriggers(
  client: pg.ClientBase,
  { schema }: Connections,
  relations: readonly Relation[],
): Promise<Finding[]> {
  const { rows } = await client.query<{ table: string; name: string; before: boolean }>(readTriggers, [
    schema,
    relations.map(({ name }) => name),
  ]);
  const findings = rows.map(({ table, name, before }): Finding => {
    const known = knownTriggers.has(name);
    return {
      severity: before && !known ? 'warning' : 'note',
      code: 'update-trigger',
      where: `table ${table}`,
      found: `trigger ${name}${before ? ', which can alter or skip an updated row' : ''}`,
      expected: known
        ? "it: it is LiteLLM's own, and runs when rows of the table are re-encrypted"
        : 'no trigger that changes what a rotation writes',
      next:
        before && !known ? 'read its function; a rotation that it alters is rolled back' : 'nothing to do',
    };
  });
  if (rows.some(({ name }) => knownTriggers.has(name)))
    findings.push(...(await judgeTriggerRights(client, schema)));
  return findings;
}

/** A trigger runs with the rights of whoever updates the table: LiteLLM's own inserts a row elsewhere. */
async function judgeTriggerRights(client: pg.ClientBase, schema: string): Promise<Finding[]> {
  const { rows } = await client.query<{ role: string; may: boolean }>(mayInsert, [schema]);
  return rows
    .filter(({ may }) => !may)
    .map(({ role }) => ({
      severity: 'blocking',
      code: 'trigger-needs-insert',
      where: `table ${triggerTarget}`,
      found: `role ${role} without INSERT, which LiteLLM's trigger on its MCP servers needs when one is re-encrypted`,
      expected: 'INSERT on this one table',
      next: `run as its owner: grant insert on ${quote(schema)}.${quote(triggerTarget)} to ${quote(role)}`,
    }));
}
