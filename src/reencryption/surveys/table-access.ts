import type pg from 'pg';
import type { Finding } from '../../rotation/finding.ts';
import { quote, type Relation } from '../postgres/catalog.ts';
import type { Connections } from '../postgres/connection.ts';

const readTables = `
  select c.relname as name,
    has_table_privilege(c.oid, 'SELECT') as "canSelect", has_table_privilege(c.oid, 'UPDATE') as "canUpdate",
    c.relrowsecurity and not $3 and (c.relforcerowsecurity or not pg_has_role(c.relowner, 'USAGE')) as "rowSecurity"
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = any ($2) order by c.relname`;

/** Whether the role may read, lock and change every table, and sees every row of it. */
export async function judgeTableAccess(
  client: pg.ClientBase,
  { schema }: Connections,
  relations: readonly Relation[],
  { role, passesRowSecurity }: { readonly role: string; readonly passesRowSecurity: boolean },
): Promise<Finding[]> {
  const { rows } = await client.query<{
    name: string;
    canSelect: boolean;
    canUpdate: boolean;
    rowSecurity: boolean;
  }>(readTables, [schema, relations.map(({ name }) => name), passesRowSecurity]);
  const findings: Finding[] = [];
  const denied = rows.filter(({ canSelect, canUpdate }) => !canSelect || !canUpdate);
  if (denied.length > 0) {
    findings.push({
      severity: 'blocking',
      code: 'missing-privileges',
      where: `${denied.length} tables of schema ${schema}: ${someOf(denied.map(({ name }) => name))}`,
      found: `role ${role} without SELECT or UPDATE`,
      expected: 'both, on every table that can hold sealed values (locking them asks for UPDATE)',
      next: `run as their owner: grant select, update on all tables in schema ${quote(schema)} to ${quote(role)}`,
    });
  }
  const secured = rows.filter(({ rowSecurity }) => rowSecurity).map(({ name }) => name);
  if (secured.length > 0) {
    findings.push({
      severity: 'blocking',
      code: 'row-security',
      where: `tables ${someOf(secured)}`,
      found: `row-level security that may hide rows from role ${role}`,
      expected: 'a role that sees every row',
      next: `use a role with BYPASSRLS, or run: alter role ${quote(role)} bypassrls`,
    });
  }
  return findings;
}

function someOf(names: readonly string[]): string {
  return names.length <= 5
    ? names.join(', ')
    : `${names.slice(0, 5).join(', ')} and ${names.length - 5} more`;
}
