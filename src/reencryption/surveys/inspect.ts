import type pg from 'pg';
import type { Finding } from '../../rotation/finding.ts';
import { journalSchema } from '../journal/journal.ts';
import { quote, readCatalog, searched, type Relation } from '../postgres/catalog.ts';
import type { Connections } from '../postgres/connection.ts';
import { judgeTableAccess } from './table-access.ts';
import { judgeTriggers } from './triggers.ts';

/** Functions that row versions and their ages are read with: `pg_current_snapshot`, `xid8`. */
const oldestVersion = 130_000;

interface Server {
  version: number;
  versionName: string;
  standby: boolean;
  readOnly: boolean;
  database: string;
  role: string;
  passesRowSecurity: boolean;
  hasSchema: boolean;
  canCreateSchema: boolean;
  canUseSchema: boolean;
  free: number;
}

const readServer = `
  select current_setting('server_version_num')::int as version, current_setting('server_version') as "versionName",
    pg_is_in_recovery() as standby, current_setting('default_transaction_read_only')::bool as "readOnly",
    current_database() as database, current_user as role, r.rolsuper or r.rolbypassrls as "passesRowSecurity",
    j.oid is not null as "hasSchema",
    has_database_privilege(current_database(), 'CREATE') as "canCreateSchema",
    coalesce(has_schema_privilege(j.oid, 'CREATE, USAGE'), false) and coalesce(pg_has_role(j.nspowner, 'USAGE'), false) as "canUseSchema",
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
      - (select count(*) from pg_stat_activity where coalesce(backend_type, 'client backend') = 'client backend')::int as free
  from pg_roles r left join pg_namespace j on j.nspname = '${journalSchema}' where r.rolname = current_user`;

export interface InspectOptions {
  readonly proxyRole?: string;
  readonly extraSkippedTables?: readonly string[];
}

/** What could keep a rotation from its work in this database. Reads only. */
export async function inspect(
  client: pg.ClientBase,
  connections: Connections,
  { proxyRole, extraSkippedTables = [] }: InspectOptions,
): Promise<readonly Finding[]> {
  const [server] = (await client.query<Server>(readServer)).rows;
  if (server === undefined) throw new Error('the server did not describe itself');
  const relations = searched(await readCatalog(client, connections.schema, extraSkippedTables));
  return [
    ...judgeServer(server, connections),
    ...judgeJournal(server),
    ...judgeSchema(relations, connections),
    ...(await judgeProxyRole(client, connections, proxyRole)),
    ...(await judgeTableAccess(client, connections, relations, server)),
    ...(await judgePublications(client, connections)),
    ...(await judgeTriggers(client, connections, relations)),
  ];
}

function judgeServer(server: Server, { description, pooled }: Connections): Finding[] {
  const findings: Finding[] = [];
  const where = description;
  if (server.version < oldestVersion) {
    findings.push({
      severity: 'blocking',
      code: 'postgres-too-old',
      where,
      found: `Postgres ${server.versionName}`,
      expected: 'Postgres 13 or newer',
      next: 'upgrade Postgres',
    });
  }
  if (server.standby || server.readOnly) {
    findings.push({
      severity: 'blocking',
      code: 'database-read-only',
      where,
      found: server.standby ? 'a standby in recovery' : 'default_transaction_read_only = on',
      expected: 'the primary, open for writing',
      next: 'point the connection string at the primary',
    });
  }
  if (pooled) {
    findings.push({
      severity: 'warning',
      code: 'database-behind-pooler',
      where,
      found: 'pgbouncer=true in the connection string: a pooler in transaction mode',
      expected: 'a direct connection: session settings and cursors of a rotation do not survive pooling',
      next: "give the rotation Postgres' own address (Prisma's DIRECT_URL)",
    });
  }
  if (server.free < 5) {
    findings.push({
      severity: 'warning',
      code: 'few-connections-left',
      where,
      found: `${server.free} free connections`,
      expected: 'at least 5, of which a rotation uses up to 4',
      next: 'raise max_connections or end idle sessions',
    });
  }
  return findings;
}

function judgeJournal(server: Server): Finding[] {
  if (server.hasSchema ? server.canUseSchema : server.canCreateSchema) return [];
  const { database, role } = server;
  return [
    {
      severity: 'blocking',
      code: 'no-journal-schema',
      where: `database ${database}`,
      found: server.hasSchema
        ? `a schema ${journalSchema} that role ${role} does not own`
        : `no schema ${journalSchema}, and role ${role} may not create one`,
      expected: `a schema of the rotation's own, for its journal`,
      next: server.hasSchema
        ? `run as a superuser: alter schema ${journalSchema} owner to ${quote(role)}`
        : `run as a superuser: create schema ${journalSchema} authorization ${quote(role)}`,
    },
  ];
}

function judgeSchema(relations: readonly Relation[], { schema, description }: Connections): Finding[] {
  if (relations.some(({ name }) => name.startsWith('LiteLLM_'))) return [];
  return [
    {
      severity: 'blocking',
      code: 'no-litellm-tables',
      where: description,
      found: `no table of LiteLLM's in schema ${schema}`,
      expected: 'LiteLLM_ProxyModelTable and its like',
      next: 'check the database and the schema in the configuration',
    },
  ];
}

/** A subscriber would get both ciphertexts of every value, and stop where it has no such tables. */
async function judgePublications(
  client: pg.ClientBase,
  { description }: Connections,
): Promise<readonly Finding[]> {
  const { rows } = await client.query<{ name: string }>(
    'select pubname as name from pg_publication where puballtables order by 1',
  );
  return rows.map(({ name }) => ({
    severity: 'warning',
    code: 'journal-published',
    where: description,
    found: `publication ${name} of all tables, and so of the journal`,
    expected: `publications that name tables, or schemas other than ${journalSchema}`,
    next: `make it anew for the tables that its subscribers have, or end the subscriptions for the time of the rotation`,
  }));
}

/** No session of a role that is not there is ever found: the proof that LiteLLM has none left would be empty. */
async function judgeProxyRole(
  client: pg.ClientBase,
  { description }: Connections,
  role: string | undefined,
): Promise<Finding[]> {
  if (role === undefined) return [];
  const { rowCount } = await client.query('select from pg_roles where rolname = $1', [role]);
  if (rowCount === 1) return [];
  return [
    {
      severity: 'blocking',
      code: 'no-proxy-role',
      where: description,
      found: `no role ${role}`,
      expected: "the role in LiteLLM's DATABASE_URL",
      next: 'correct database.proxyRole in the configuration, or leave it out: it is then the owner of the tables',
    },
  ];
}
