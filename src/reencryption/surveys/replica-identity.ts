import type pg from 'pg';
import type { Finding } from '../../rotation/finding.ts';
import { quote } from '../postgres/catalog.ts';

// What Postgres itself asks for before it updates a table whose updates are published (its manual, ALTER TABLE, REPLICA IDENTITY).
const readUnidentified = `
  select distinct c.relname as name
  from pg_publication p join pg_publication_tables t using (pubname)
    join pg_namespace n on n.nspname = t.schemaname join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
  where p.pubupdate and n.nspname = $1 and c.relname = any ($2) and c.relreplident <> 'f'
    and not exists (select 1 from pg_index i where i.indrelid = c.oid and i.indisvalid and i.indimmediate
      and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end)
  order by 1`;

/** Published tables in which Postgres refuses every update, LiteLLM's own, too, as it could not tell a subscriber which row it is of. */
export async function judgeReplicaIdentity(
  client: pg.ClientBase,
  schema: string,
  tables: readonly string[],
): Promise<Finding[]> {
  const { rows } = await client.query<{ name: string }>(readUnidentified, [schema, tables]);
  return rows.map(({ name }) => ({
    severity: 'blocking',
    code: 'no-replica-identity',
    where: `table ${name}`,
    found:
      'sealed values, and no replica identity in a table whose updates are published: Postgres refuses them',
    expected: 'a primary key, or another replica identity',
    next: `run as its owner: alter table ${quote(schema)}.${quote(name)} replica identity full`,
  }));
}
