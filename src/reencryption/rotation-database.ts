import type pg from 'pg';
import type { Fence } from '../rotation/fence.ts';
import { restore } from './cutover/restore.ts';
import { swap } from './cutover/swap.ts';
import { improve } from './in-place/improve.ts';
import { surveyImprovement } from './in-place/improvement-survey.ts';
import { dropStaged } from './journal/drop.ts';
import { openGuard, opensGuard } from './journal/guard.ts';
import { hasJournal, journalSchema, prepareJournal, readFingerprintKey } from './journal/journal.ts';
import { readLastOutage } from './journal/last-outage.ts';
import { acquireLease, assertHeld, holdLease, nextToken, readLease, releaseLease } from './journal/lease.ts';
import { readSide } from './journal/marker.ts';
import type { RotationDatabase } from './port.ts';
import { openConnections, type ConnectionOptions } from './postgres/connection.ts';
import { readProxySessions } from './postgres/sessions.ts';
import { stage, type StageOptions } from './staging/stage.ts';
import { count } from './surveys/count.ts';
import { inspect } from './surveys/inspect.ts';
import { inventory } from './surveys/inventory.ts';

export type RotationDatabaseOptions = ConnectionOptions & StageOptions;

/**
 * A rotation's view of one LiteLLM database. Opens sessions when they are needed (at most four) and never more than
 * one transaction that writes; `close` ends them.
 */
export function createRotationDatabase(options: RotationDatabaseOptions): RotationDatabase {
  const connections = openConnections(options);
  const extraSkipped = options.extraSkippedTables ?? [];
  const write = <T>(doing: string, use: (client: pg.ClientBase) => Promise<T>): Promise<T> =>
    connections.transaction(doing, 'write', use);

  return {
    description: connections.description,
    prepareJournal: () =>
      write('preparing the journal', async (client) => {
        await prepareJournal(client);
        await openGuard(client, connections.schema, options.proxyRole);
      }),
    fingerprintKey: () => connections.session("reading the fingerprints' key", readFingerprintKey),
    acquireLease: (holder) => write('taking the lease', (client) => acquireLease(client, holder)),
    lease: () =>
      connections.session('reading the lease', async (client) =>
        (await hasJournal(client)) ? readLease(client) : undefined,
      ),
    async fence(rotation, attemptAt = Date.now()): Promise<Fence> {
      const token = await write('taking a fencing token', (client) => nextToken(client, rotation, attemptAt));
      return {
        rotation,
        token,
        assert: () =>
          connections.session('checking the fencing token', (client) =>
            assertHeld(client, { rotation, token }),
          ),
      };
    },
    releaseLease: (fence) => write('releasing the lease', (client) => releaseLease(client, fence)),
    inspect: (signal) =>
      connections.survey('inspecting the database', signal, (client) =>
        inspect(client, connections, options),
      ),
    inventory: (known, masterKey, progress, signal, visit) =>
      inventory(connections, known, masterKey, progress, signal, extraSkipped, visit),
    surveyImprovement: (asked, progress, signal, visit) =>
      surveyImprovement(connections, asked, progress, signal, extraSkipped, visit),
    improve: (asked, fence, progress, signal) =>
      improve(connections, asked, fence, progress, signal, options),
    stage: (transition, fence, progress, signal) =>
      stage(connections, transition, fence, progress, signal, options),
    swap: (transition, masterKey, fence, progress) =>
      swap(connections, transition, masterKey, fence, progress, options),
    restore: (transition, _masterKey, fence, progress, search) =>
      restore(connections, transition, fence, progress, { ...options, search }),
    observe: (rotation) =>
      connections.session('reading the marker', async (client) =>
        (await hasJournal(client)) ? readSide(client, rotation) : { side: 'previous', staged: 0 },
      ),
    isUnder: (key) => connections.session('asking the guard', (client) => opensGuard(client, key)),
    lastOutage: () =>
      connections.session('reading the last evidence', async (client) =>
        (await hasJournal(client)) ? readLastOutage(client) : null,
      ),
    count: (expected, others, progress, signal) =>
      count(connections, expected, others, progress, signal, extraSkipped),
    dropStaged: (fence, side) =>
      write('dropping the staged values', (client) => dropStaged(client, fence, side)),
    proxySessions: () =>
      connections.session("looking for LiteLLM's sessions", (client) =>
        readProxySessions(client, connections.schema, options.proxyRole),
      ),
    record: (fence, what, document) =>
      write(`recording the ${what}`, async (client) => {
        await holdLease(client, fence);
        await client.query(recordDocument[what], [fence.rotation, JSON.stringify(document)]);
      }),
    close: () => connections.close(),
  };
}

const recordDocument = {
  plan: `update ${journalSchema}.rotation set plan = $2 where rotation = $1`,
  evidence: `update ${journalSchema}.rotation set evidence = $2 where rotation = $1`,
} as const;
