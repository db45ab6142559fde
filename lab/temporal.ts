import { Connection } from '@temporalio/client';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts, startChild, untilReady } from './child.ts';
import { untilStopped } from './cleanup.ts';
import { findTemporalCli } from './temporal-cli.ts';

export { findTemporalCli } from './temporal-cli.ts';

export type SearchAttributeType = 'Bool' | 'Datetime' | 'Double' | 'Int' | 'Keyword' | 'KeywordList' | 'Text';

export interface TemporalOptions {
  /** The frontend's port. @default a free one */
  readonly port?: number;
  /** The web UI's port. @default a free one */
  readonly uiPort?: number;
  /** Keeps the workflows in this SQLite file. @default in memory, lost at the stop */
  readonly dbFilename?: string;
  /** Custom search attributes of the namespace, by name. */
  readonly searchAttributes?: Readonly<Record<string, SearchAttributeType>>;
}

/** A Temporal dev server with its web UI, on 127.0.0.1 only. */
export interface Temporal {
  /** `host:port` for a connection. */
  readonly address: string;
  readonly uiUrl: string;
  readonly namespace: 'default';
  readonly pid: number;
  readonly log: string;
  stop(): Promise<void>;
}

/** Starts a dev server and waits until its frontend serves. 0.5 to 1.5 s. */
export async function startTemporal(options: TemporalOptions = {}): Promise<Temporal> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(options);
    } catch (error) {
      // The ports of its own services it chooses by itself, and not for long enough that nobody else takes one.
      if (attempt === 3 || !/address already in use/.test((error as Error).message)) throw error;
    }
  }
}

async function startOnce(options: TemporalOptions): Promise<Temporal> {
  const cli = await findTemporalCli();
  const home = await mkdtemp(join(tmpdir(), 'litellm-rotate-temporal-'));
  const log = join(home, 'log');
  const [freePort, freeUiPort, httpPort, metricsPort] = await freePorts(4);
  const port = options.port ?? freePort;
  const uiPort = options.uiPort ?? freeUiPort;
  const searchAttributes = Object.entries(options.searchAttributes ?? {}).flatMap(([name, type]) => [
    '--search-attribute',
    `${name}=${type}`,
  ]);
  const frontend = [
    'server',
    'start-dev',
    '--ip',
    '127.0.0.1',
    '--port',
    `${port}`,
    '--http-port',
    `${httpPort}`,
  ];
  const others = [
    '--ui-ip',
    '127.0.0.1',
    '--ui-port',
    `${uiPort}`,
    '--metrics-port',
    `${metricsPort}`,
    '--log-level',
    'warn',
  ];
  const args = [
    ...frontend,
    ...others,
    ...(options.dbFilename === undefined ? [] : ['--db-filename', options.dbFilename]),
    ...searchAttributes,
  ];
  // Its own home: the CLI would read the user's profiles (temporal.toml) and TEMPORAL_* otherwise.
  const env = { PATH: process.env.PATH, HOME: home, TMPDIR: tmpdir() };
  const child = await startChild(cli, args, { env, log, cwd: home, deathSignal: 'KILL' });
  const stop = untilStopped(
    async () => {
      await child.stop('SIGTERM', 10_000);
      await rm(home, { recursive: true, force: true });
    },
    () => child.abandon(),
  );
  const address = `127.0.0.1:${port}`;
  try {
    await untilReady('temporal', child, log, 60_000, () => serves(address));
  } catch (error) {
    await stop();
    throw error;
  }
  return { address, uiUrl: `http://127.0.0.1:${uiPort}`, namespace: 'default', pid: child.pid, log, stop };
}

/** Whether the frontend serves and has made the namespace, which comes a moment later. */
async function serves(address: string): Promise<boolean> {
  const connection = await Connection.connect({ address, connectTimeout: '2s' });
  try {
    const { status }: { status?: number | null } = await connection.healthService.check({
      service: 'temporal.api.workflowservice.v1.WorkflowService',
    });
    await connection.workflowService.describeNamespace({ namespace: 'default' });
    return status === 1; // SERVING, in grpc.health.v1
  } finally {
    await connection.close();
  }
}
