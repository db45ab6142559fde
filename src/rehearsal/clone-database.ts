import { setTimeout as sleep } from 'node:timers/promises';
import { escapeIdentifier, type ClientBase } from 'pg';
import { applicationName, type Connections } from '../reencryption/postgres/connection.ts';
import { sqlState } from '../reencryption/postgres/database-error.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { Fence } from '../rotation/fence.ts';
import { cloneName } from './connection-string.ts';

/** The server that a clone is made on. */
export interface CloneServer {
  readonly connections: Connections;
}

/**
 * Creates the database only as the newest attempt. One that was overtaken while it created it, and so after whoever
 * ended the rotation looked for it, drops it again.
 */
export async function createClone(
  server: CloneServer,
  fence: Fence,
  statement: string,
  signal: AbortSignal,
): Promise<void> {
  await fence.assert();
  await server.connections.session('creating the clone', (client) => client.query(statement), signal);
  // A new database is open to everybody, however closed its source is.
  await server.connections.session('closing the clone to others', (client) =>
    client.query(`revoke all on database ${escapeIdentifier(cloneName(fence.rotation))} from public`),
  );
  try {
    await fence.assert();
  } catch (error) {
    await dropClone(server, fence.rotation);
    throw error;
  }
}

/** Drops a rotation's clone, with the sessions on it. Resolves with whether there was one. */
export async function dropClone({ connections }: CloneServer, rotation: string): Promise<boolean> {
  const there = await cloneExists({ connections }, rotation);
  const name = cloneName(rotation);
  try {
    await connections.session('destroying the clone', async (client) => {
      await endCreation(client, name);
      await client.query(`drop database if exists ${escapeIdentifier(name)} with (force)`);
    });
  } catch (error) {
    if (sqlState(error) !== '42501') throw error;
    // To be tried again: a session of a superuser's, such as a monitor's, ends by itself.
    throw new RotationError(
      failureTypes.databaseFailed,
      `database ${name}: found a session, or an owner, that the role of the rehearsal may not end; expected neither, so that the clone can be destroyed; end the session, or drop the database as a superuser`,
    );
  }
  return there;
}

export function cloneExists({ connections }: CloneServer, rotation: string): Promise<boolean> {
  return connections.session('looking for the clone', async (client) => {
    const { rowCount } = await client.query(
      `select 1 from pg_database where datname = $1 union all select 1 ${ofCreators}`,
      [cloneName(rotation)],
    );
    return rowCount !== 0;
  });
}

// Postgres goes on for a client that is gone, and shows the database only once it is made.
const ofCreators = `
  from pg_stat_activity where usename = current_user and application_name = '${applicationName}' and state = 'active'
    and starts_with(query, 'create database "' || $1 || '"')`;

/** Without this, what a killed worker has begun would come to be after the drop. */
async function endCreation(client: ClientBase, name: string): Promise<void> {
  for (let looks = 0; looks < 100; looks += 1) {
    const { rowCount } = await client.query(`select pg_terminate_backend(pid) ${ofCreators}`, [name]);
    if (rowCount === 0) return;
    await sleep(100);
  }
  throw new RotationError(
    failureTypes.databaseFailed,
    `database ${name}: found a session that creates it and does not end; expected none; end it, and drop the database`,
  );
}
