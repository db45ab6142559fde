import type pg from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import { quote, readCatalog, type Relation } from './catalog.ts';
import type { Connections } from './connection.ts';
import { databaseError, sqlState } from './database-error.ts';

const lockNotAvailable = '55P03';

/**
 * The searched tables, with writers kept out of them until the transaction ends; readers go on. All of them, not only
 * those that hold something: a value that is written in the meantime to a table that held none would be under a key
 * that is gone. Conflicts with autovacuum, which Postgres ends by itself after deadlock_timeout.
 */
export async function lockSearched(
  client: pg.ClientBase,
  connections: Connections,
  extraSkipped: readonly string[],
  searched: (catalog: readonly Relation[]) => readonly Relation[],
): Promise<readonly Relation[]> {
  const read = async (): Promise<readonly Relation[]> =>
    searched(await readCatalog(client, connections.schema, extraSkipped));
  const seen = (await read()).map(({ name }) => name);
  await lockTables(client, connections, seen);
  // Read again behind the locks: a column could have been added before they were granted.
  const locked = await read();
  const missed = locked.map(({ name }) => name).filter((name) => !seen.includes(name));
  if (missed.length === 0) return locked;
  throw new RotationError(
    failureTypes.databaseFailed,
    `tables were created while the others were locked: ${missed.join(', ')}; nothing was changed; try again when nobody changes the schema`,
    { facts: { tables: missed } },
  );
}

async function lockTables(
  client: pg.ClientBase,
  connections: Connections,
  tables: readonly string[],
): Promise<void> {
  if (tables.length === 0) return;
  const { processID } = client as pg.ClientBase & { processID: number | null };
  const names = tables.map((table) => `${quote(connections.schema)}.${quote(table)}`);
  try {
    await client.query(`lock table ${names.join(', ')} in share row exclusive mode`);
  } catch (error) {
    if (sqlState(error) !== lockNotAvailable) throw error;
    const holders = await lockHolders(connections, tables, processID ?? 0).catch(() => []);
    if (holders.length === 0) throw error;
    throw new RotationError(
      failureTypes.databaseFailed,
      `another session holds LiteLLM's tables: ${holders.join(', ')}; expected none while the service is stopped; end it, then try again; nothing was changed`,
      { facts: { ...databaseError(error, 'locking').facts, holders } },
    );
  }
}

// Modes that conflict with SHARE ROW EXCLUSIVE. Not our own transaction, which has got some of them.
const readHolders = `
  select distinct l.pid, c.relname as table, coalesce(nullif(s.application_name, ''), 'unnamed') as application,
    coalesce(s.state, 'state not visible') as state
  from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
    left join pg_stat_activity s on s.pid = l.pid
  where l.granted and l.database = (select oid from pg_database where datname = current_database())
    and n.nspname = $1 and c.relname = any ($2)
    and l.mode in ('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    and l.pid <> $3
  order by l.pid limit 5`;

async function lockHolders(
  connections: Connections,
  tables: readonly string[],
  ownPid: number,
): Promise<readonly string[]> {
  return connections.session('looking for the session that holds the lock', async (client) => {
    const { rows } = await client.query<{ pid: number; table: string; application: string; state: string }>(
      readHolders,
      [connections.schema, tables, ownPid],
    );
    return rows.map(
      ({ pid, table, application, state }) => `pid ${pid} (${application}, ${state}) on ${table}`,
    );
  });
}
