import { escapeIdentifier, type ClientBase } from 'pg';
import { readCatalog } from '../reencryption/postgres/catalog.ts';
import { applicationName, type Connections } from '../reencryption/postgres/connection.ts';
import { sqlState } from '../reencryption/postgres/database-error.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { Fence } from '../rotation/fence.ts';
import type { Secret } from '../rotation/secret.ts';
import { createClone, dropClone } from './clone-database.ts';
import { addressOf, cloneName, withDatabase } from './connection-string.ts';
import { dumpAndRestore } from './dump.ts';
import type { CloneMethod } from './port.ts';

export interface CloneOptions {
  readonly source: { readonly connections: Connections; readonly connectionString: Secret };
  /** The server that the clone is made on, by any database of it. */
  readonly server: { readonly connections: Connections; readonly connectionString: Secret };
  /** `auto`: by template while nobody but us is connected, else by dump. */
  readonly method: CloneMethod | 'auto';
  readonly schema: string;
  /** Where `pg_dump` and `pg_restore` are looked for, as PATH has it. */
  readonly searchPath: string;
}

/** Makes the clone of a rotation. What an earlier attempt has left of it must be gone. */
export async function makeClone(
  options: CloneOptions,
  fence: Fence,
  signal: AbortSignal,
): Promise<CloneMethod> {
  const name = cloneName(fence.rotation);
  if (options.method !== 'dump') {
    const made = await tryTemplate(options, name, fence, signal);
    if (made) return 'template';
    if (options.method === 'template') throw sessionsInTheWay(options);
  }
  await createClone(
    options.server,
    fence,
    `create database ${escapeIdentifier(name)} template template0`,
    signal,
  );
  try {
    await dump(options, name, signal);
  } catch (error) {
    // Half a clone is of no use, and may be what fills the disk; but it may be that of a newer attempt by now.
    await fence
      .assert()
      .then(() => dropClone(options.server, fence.rotation))
      .catch(() => undefined);
    throw error;
  }
  return 'dump';
}

/** Whether the template could be copied; not where somebody is connected to it, or the role may not. */
async function tryTemplate(
  options: CloneOptions,
  name: string,
  fence: Fence,
  signal: AbortSignal,
): Promise<boolean> {
  const [source, server] = [
    addressOf(options.source.connectionString),
    addressOf(options.server.connectionString),
  ];
  if (source.host !== server.host || source.port !== server.port) return false;
  const { connections } = options.server;
  if (!(await connections.session('looking for sessions', (client) => isFree(client, source.database))))
    return false;
  try {
    const template = escapeIdentifier(source.database);
    await createClone(
      options.server,
      fence,
      `create database ${escapeIdentifier(name)} template ${template}`,
      signal,
    );
    return true;
  } catch (error) {
    // object_in_use: somebody connected meanwhile. insufficient_privilege: not the owner of the template.
    if (!['55006', '42501'].includes(sqlState(error) ?? '')) throw error;
    if (options.method === 'template' && sqlState(error) === '42501') throw notItsOwner(options);
    return false;
  }
}

const othersSessions = `
  select 1 from pg_stat_activity
  where datname = $1 and coalesce(backend_type, 'client backend') = 'client backend'
    and application_name is distinct from '${applicationName}' limit 1`;
// The pool opens new ones when it needs them.
const endOurIdleSessions = `
  select pg_terminate_backend(pid) from pg_stat_activity
  where datname = $1 and usename = current_user and application_name = '${applicationName}' and state = 'idle'
    and pid <> pg_backend_pid()`;

async function isFree(client: ClientBase, database: string): Promise<boolean> {
  if ((await client.query(othersSessions, [database])).rowCount !== 0) return false;
  await client.query(endOurIdleSessions, [database]);
  return true;
}

// Of a partitioned table pg_dump takes each partition by its own name. Foreign tables cannot be partitions of one with a key.
const readPartitions = `
  select c.relname as name, root.relname as root
  from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_class root on root.oid = pg_partition_root(c.oid)
  where n.nspname = $1 and c.relispartition and c.relkind in ('r', 'p')`;

async function dump(
  { source, server, schema, searchPath }: CloneOptions,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const { catalog, partitions } = await source.connections.session('reading the catalog', async (client) => ({
    catalog: await readCatalog(client, schema, []),
    partitions: (await client.query<{ name: string; root: string }>(readPartitions, [schema])).rows,
  }));
  const named = (role: (skipped: string) => boolean) =>
    catalog.filter(({ skipped }) => skipped !== undefined && role(skipped)).map(({ name: table }) => table);
  const withoutRows = named((skipped) => skipped !== 'foreign table');
  await dumpAndRestore(
    {
      from: source.connectionString,
      to: withDatabase(server.connectionString, name, schema),
      schema,
      searchPath,
      withoutRows: [
        ...withoutRows,
        ...partitions.filter(({ root }) => withoutRows.includes(root)).map(({ name: table }) => table),
      ],
      without: named((skipped) => skipped === 'foreign table'),
    },
    signal,
  );
}

function notItsOwner({ source, server }: CloneOptions): RotationError {
  const { user } = addressOf(server.connectionString);
  return new RotationError(
    failureTypes.refused,
    `${source.connections.description}: found that role ${user} may not copy it as a template; expected its owner, or a superuser; set rehearsal.clone to dump, or give rehearsal.server such a role`,
  );
}

function sessionsInTheWay({ source }: CloneOptions): RotationError {
  return new RotationError(
    failureTypes.refused,
    `${source.connections.description}: found sessions of others on it, or a clone wanted on another server, so that it cannot be copied as a template; expected neither; set rehearsal.clone to dump`,
  );
}
