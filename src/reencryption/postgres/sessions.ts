import type pg from 'pg';
import { applicationName } from './connection.ts';
import { tokenTable } from './table-role.ts';

export interface ProxySession {
  readonly pid: number;
  readonly role: string;
  readonly application: string;
  readonly client: string;
}

// The database and the role of a session are visible to everybody; the rest, its kind too, only to its own role and to
// members of pg_read_all_stats: what is not visible counts as a session, or the proof would be empty.
const readSessions = `
  select pid, usename as role, coalesce(application_name, '') as application, coalesce(host(client_addr), 'local') as client
  from pg_stat_activity
  where datname = current_database() and coalesce(backend_type, 'client backend') = 'client backend'
    and usename = coalesce($1, (select pg_get_userbyid(c.relowner) from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = $2 and c.relname = '${tokenTable}'))
    and pid <> pg_backend_pid() and application_name is distinct from '${applicationName}'
  order by pid`;

/** Sessions of LiteLLM's role on this database but ours. @param role undefined: the owner of LiteLLM's tables */
export async function readProxySessions(
  client: pg.ClientBase,
  schema: string,
  role: string | undefined,
): Promise<readonly ProxySession[]> {
  return (await client.query<ProxySession>(readSessions, [role ?? null, schema])).rows;
}
