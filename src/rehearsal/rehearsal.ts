import { escapeIdentifier } from 'pg';
import type { ProxyOptions } from '../litellm/proxy-port.ts';
import { createProxy } from '../litellm/proxy.ts';
import { applicationName, openConnections } from '../reencryption/postgres/connection.ts';
import { journalSchema } from '../reencryption/journal/journal.ts';
import type { RotationDatabase } from '../reencryption/port.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { Secret } from '../rotation/secret.ts';
import { programPath } from '../services/host.ts';
import { cloneExists, dropClone } from './clone-database.ts';
import { type CloneOptions, makeClone } from './clone.ts';
import { addressOf, cloneName, withDatabase } from './connection-string.ts';
import { judgeFullDisk } from './full-disk.ts';
import { inspectRehearsal } from './inspect.ts';
import type { Rehearsal } from './port.ts';
import { quieten } from './quieten.ts';
import { endSpareProcesses, startSpareProcess } from './spare-process.ts';

export interface RehearsalOptions {
  /** The target's database, by the worker's own role. */
  readonly source: Secret;
  /** Where the clone is made, by a role that may create databases. @default the source's server and role */
  readonly server?: Secret;
  /** How long a statement may run, in ms: Postgres copies a template in one. @default as `openConnections` has it */
  readonly statementTimeoutMs?: number;
  /** LiteLLM's. @default the `schema` parameter of the source's connection string, else `public` */
  readonly schema?: string;
  readonly clone: CloneOptions['method'];
  /** Where `pg_dump` and `pg_restore` are looked for: several versions may stand on one host. @default `programPath` */
  readonly searchPath?: string;
  /** Runs LiteLLM in the foreground; `{port}` in an argument stands for the port. */
  readonly start: readonly string[];
  readonly port: number;
  readonly paths?: ProxyOptions['paths'];
  readonly cwd?: string;
  /** Beside PATH, HOME, the keys and DATABASE_URL: all that LiteLLM gets. Not for secrets. */
  readonly environment: Readonly<Record<string, string>>;
  /** The variables that LiteLLM, and copies of it in its configuration, read the keys by. */
  readonly variables: { readonly master: readonly string[]; readonly salt: readonly string[] };
  readonly readyTimeoutMs: number;
  readonly always: boolean;
  /** Our view of the database of a connection string, whose role LiteLLM connects as. */
  readonly openDatabase: (connectionString: Secret, proxyRole: string) => RotationDatabase;
}

/**
 * What keeps a spare LiteLLM to itself, where the configuration does not say otherwise. Its models are in the database;
 * it asks no provider for the state of batches, tells nobody that it runs, and listens on this machine alone: with every
 * stored credential, and budgets of its own, it would serve whoever has a virtual key.
 * Source: LiteLLM 1.106.2 and 1.110.2, proxy/proxy_server.py and constants.py; since 1.107, proxy/telemetry/settings.py
 * (`LITELLM_TELEMETRY_DISABLED` overrules groups and endpoint of its own telemetry, wherever they are set); 1.108.7,
 * proxy/proxy_cli.py (`--host`, which is every address by default).
 */
const quiet = {
  HOST: '127.0.0.1',
  STORE_MODEL_IN_DB: 'True',
  PROXY_BATCH_POLLING_ENABLED: 'false',
  LITELLM_KEY_ROTATION_ENABLED: 'false',
  LITELLM_TELEMETRY: 'False',
  LITELLM_TELEMETRY_DISABLED: 'true',
  LITELLM_LOCAL_MODEL_COST_MAP: 'True',
  LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS: 'True',
  DISABLE_ADMIN_UI: 'True',
};

/** The rehearsals of one target. Connects to nothing before it is asked to. */
export function createRehearsal(options: RehearsalOptions): Rehearsal {
  const { source, server = source, port } = options;
  const limits =
    options.statementTimeoutMs === undefined ? {} : { statementTimeoutMs: options.statementTimeoutMs };
  const connections = openConnections({
    connectionString: source,
    ...limits,
    ...(options.schema === undefined ? {} : { schema: options.schema }),
  });
  const { schema } = connections;
  const cloning: CloneOptions = {
    source: { connectionString: source, connections },
    server: {
      connectionString: server,
      connections: openConnections({ connectionString: server, ...limits }),
    },
    method: options.clone,
    schema,
    searchPath: options.searchPath ?? programPath,
  };
  const { host, port: serverPort, user } = addressOf(server);
  const urlOf = (rotation: string) => withDatabase(server, cloneName(rotation), schema);
  const proxy = createProxy({
    url: `http://127.0.0.1:${port}`,
    ...(options.paths === undefined ? {} : { paths: options.paths }),
  });

  /** A short look at the clone or change of it, by SQL. */
  async function onClone<T>(
    rotation: string,
    use: (connections: ReturnType<typeof openConnections>) => Promise<T>,
  ): Promise<T> {
    const connections = openConnections({ connectionString: urlOf(rotation), schema });
    try {
      return await use(connections);
    } finally {
      await connections.close();
    }
  }
  async function destroy(rotation: string): Promise<boolean> {
    await endSpareProcesses(cloneName(rotation));
    return dropClone(cloning.server, rotation);
  }

  return {
    description: `a clone on Postgres at ${host}:${serverPort}, LiteLLM on port ${port}`,
    always: options.always,
    readyTimeoutMs: options.readyTimeoutMs,

    inspect: () => inspectRehearsal(cloning, { program: options.start[0] ?? '', cwd: options.cwd, proxy }),

    async clone(fence, signal) {
      await fence.assert();
      await destroy(fence.rotation);
      const method = await makeClone(cloning, fence, signal).catch(async (error: unknown) => {
        throw await judgeFullDisk(error, connections);
      });
      // A template brings our own journal: its lease and its marker are the source's.
      await onClone(fence.rotation, (clone) =>
        clone.session('preparing the clone', (client) =>
          client.query(`drop schema if exists ${escapeIdentifier(journalSchema)} cascade`),
        ),
      );
      return method;
    },

    open: (rotation) => options.openDatabase(urlOf(rotation), user),

    judgeFailure: (rotation, error) => onClone(rotation, (clone) => judgeFullDisk(error, clone)),

    quieten: (rotation) => onClone(rotation, quieten),

    async boot(rotation, keys, signal) {
      const clone = cloneName(rotation);
      await endSpareProcesses(clone);
      signal.throwIfAborted();
      // Or somebody else's answers would be taken for those of the rehearsal.
      if (await proxy.isListening()) {
        throw new RotationError(
          failureTypes.refused,
          `${proxy.url}: found something that listens there; expected a free port; end it, or change rehearsal.port in the configuration`,
        );
      }
      const [program = '', ...args] = options.start;
      const child = await startSpareProcess(
        [program, ...args.map((argument) => argument.replaceAll('{port}', `${port}`))],
        {
          clone,
          environment: {
            ...quiet,
            ...options.environment,
            ...keysOf(options.variables.master, keys.master),
            ...keysOf(options.variables.salt, keys.salt),
            DATABASE_URL: urlOf(rotation).reveal(),
          },
          ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        },
      );
      return { proxy, ...child };
    },

    sessions: (rotation) =>
      onClone(rotation, (clone) =>
        clone.session('looking for sessions on the clone', async (client) => {
          const { rows } = await client.query<{ sessions: number }>(sessionsOfOthers);
          return rows[0]?.sessions ?? 0;
        }),
      ),

    exists: (rotation) => cloneExists(cloning.server, rotation),

    destroy: async (rotation) => ({ destroyed: await destroy(rotation) }),

    async close() {
      await Promise.allSettled([cloning.source.connections.close(), cloning.server.connections.close()]);
    },
  };
}

// Of the role that LiteLLM was given: a monitor may connect to every database that it finds.
const sessionsOfOthers = `
  select count(*)::int as sessions from pg_stat_activity
  where datname = current_database() and usename = current_user and application_name is distinct from '${applicationName}'`;

function keysOf(names: readonly string[], key: Secret | undefined): Record<string, string> {
  return key === undefined ? {} : Object.fromEntries(names.map((name) => [name, key.reveal()]));
}
