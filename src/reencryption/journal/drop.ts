import type pg from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import { sqlState } from '../postgres/database-error.ts';
import { journalSchema } from './journal.ts';
import { holdLease, type FenceToken } from './lease.ts';
import { readSide } from './marker.ts';

// For longer than it takes Postgres to end an autovacuum that is in the way (deadlock_timeout).
const patience = `savepoint emptying; set local lock_timeout = '2s'`;
const othersStaged = `select 1 from ${journalSchema}.staged_relation where rotation <> $1 and rows > 0 limit 1`;
const dropRows = `delete from ${journalSchema}.staged using ${journalSchema}.staged_relation as r where relation_id = r.id and r.rotation = $1`;
const dropRelations = `delete from ${journalSchema}.staged_relation where rotation = $1`;
const markDropped = `update ${journalSchema}.rotation set dropped_at = now() where rotation = $1`;
const dropImages = `delete from ${journalSchema}.token_image where rotation = $1`;

/** Drops what was staged for the rotation, with its before-images. `side`: where the database must be. */
export async function dropStaged(
  client: pg.ClientBase,
  fence: FenceToken,
  side: 'previous' | 'pending',
): Promise<void> {
  await holdLease(client, fence);
  const found = await readSide(client, fence.rotation);
  if (found.side !== side) {
    throw new RotationError(
      failureTypes.changedElsewhere,
      `the database is on the ${found.side} side of rotation ${fence.rotation}, expected the ${side} side; its staged values are kept, because the way back needs them`,
      { facts: { found: found.side, expected: side } },
    );
  }
  const shared = (await client.query(othersStaged, [fence.rotation])).rowCount !== 0;
  if (shared || !(await truncated(client))) await client.query(dropRows, [fence.rotation]);
  await client.query(dropImages, [fence.rotation]);
  await client.query(dropRelations, [fence.rotation]);
  await client.query(markDropped, [fence.rotation]);
}

/**
 * Empties the tables, if their locks can be had: a backup keeps them for as long as it takes. A truncate leaves nothing of
 * the before-images in the files, and no dead rows; a delete does until a vacuum.
 */
async function truncated(client: pg.ClientBase): Promise<boolean> {
  await client.query(patience);
  try {
    await client.query(`truncate ${journalSchema}.staged, ${journalSchema}.token_image`);
    return true;
  } catch (error) {
    if (sqlState(error) !== '55P03') throw error;
    await client.query('rollback to savepoint emptying');
    return false;
  }
}
