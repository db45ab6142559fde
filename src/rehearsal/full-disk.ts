import type { Connections } from '../reencryption/postgres/connection.ts';
import { sqlState } from '../reencryption/postgres/database-error.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';

const readSize = 'select pg_size_pretty(pg_database_size(current_database())) as size';

/**
 * The failure of a clone, or of work on it. Of a full disk, one that no attempt follows: LiteLLM's own database may be on
 * it, and the clone, which the rotation then destroys, is what can go.
 * @param clone the clone, or the database that it is a copy of
 */
export async function judgeFullDisk(
  failure: unknown,
  clone: Pick<Connections, 'description' | 'session'>,
): Promise<unknown> {
  if (sqlState(failure) !== '53100') return failure;
  const size = await clone
    .session('looking at the size', async (client) => {
      return (await client.query<{ size: string }>(readSize)).rows[0]?.size;
    })
    .catch(() => undefined);
  return new RotationError(
    failureTypes.refused,
    `the rehearsal's clone: found that the disk of Postgres is full (53100 disk_full), with ${size ?? 'an unknown size'} in ${clone.description}; expected room for a clone of that size and for what is staged in it; make room, or give rehearsal.server another server`,
    { facts: { sqlState: '53100', size } },
  );
}
