import { ensurePostgresClients } from '../lab/postgres-clients.ts';
import { cannotDump } from './rehearsal/dump-programs.ts';

/** Puts a pg_dump that can read the lab's servers on PATH, where the machine has none or an older one. */
export async function setup(): Promise<void> {
  if ((await cannotDump()) === undefined) return;
  // Without one, what needs it is skipped, and says why.
  const directory = await ensurePostgresClients().catch(() => undefined);
  if (directory !== undefined) process.env.PATH = `${directory}:${process.env.PATH}`;
}
