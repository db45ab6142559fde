import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { startPostgres, type Postgres } from '../lab/postgres.ts';
import { startTemporal, type Temporal } from '../lab/temporal.ts';
import { type Seeded, seedTemplate } from './seed.ts';

export const template = 'drill_template';

/** Servers of its own, so that they can be killed while other lanes go on. */
export interface Lane {
  readonly name: string;
  readonly directory: string;
  /** Shared by all processes of the drill: halves the time of each start. */
  readonly compileCache: string;
  readonly postgres: Postgres;
  readonly seeded: Seeded;
  readonly temporalAddress: string;
  readonly client: Client;
  /** Ends Postgres like a crash and starts it again. */
  crashPostgres(): Promise<void>;
  /** SIGKILL, and a new server on the same port and file. */
  killTemporal(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts the servers of a lane, with a database to copy. */
export async function startLane(name: string, directory: string, seeded: Seeded): Promise<Lane> {
  const database = join(directory, 'temporal.db');
  const [postgres, first] = await Promise.all([
    startPostgres({ settings: { shared_buffers: '32MB', max_wal_size: '256MB' } }),
    startTemporal({ dbFilename: database }),
  ]);
  let temporal: Temporal = first;
  await seedTemplate(postgres, template, seeded);
  const connection = await Connection.connect({ address: temporal.address });
  const [port, uiPort] = [Number(temporal.address.split(':')[1]), Number(new URL(temporal.uiUrl).port)];
  return {
    name,
    directory,
    compileCache: join(dirname(directory), 'compile-cache'),
    postgres,
    seeded,
    temporalAddress: temporal.address,
    client: new Client({ connection }),
    crashPostgres: () => postgres.restart('immediate'),
    async killTemporal() {
      process.kill(temporal.pid, 'SIGKILL');
      await temporal.stop();
      temporal = await startTemporal({ dbFilename: database, port, uiPort });
    },
    async stop() {
      await connection.close();
      await temporal.stop();
      await postgres.stop('immediate');
      await rm(directory, { recursive: true, force: true });
    },
  };
}
