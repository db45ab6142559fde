import { execa } from 'execa';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { freePort, tail } from './child.ts';
import { untilStopped } from './cleanup.ts';
import { createLiteLLMDatabase } from './litellm/database.ts';
import { isReady } from './litellm/proxy.ts';
import { describeLiteLLMService, type LiteLLMService } from './litellm/service.ts';
import { type Postgres, withClient } from './postgres.ts';

export interface DeploymentOptions {
  readonly postgres: Postgres;
  /** Holds everything of it; made when it is not there. */
  readonly directory: string;
  /** Also the database's name. */
  readonly name: string;
  /** Leaves the salt key out, so that the master key seals. @default true */
  readonly withSalt?: boolean;
  /** The database to copy, with LiteLLM's rows in it. @default LiteLLM's schema alone */
  readonly template?: string;
  /** The keys, where a template was seeded with them. @default new ones */
  readonly keys?: { readonly master: string; readonly salt?: string };
  /** How the line of a variable is written in the key file. @default `NAME="value"` */
  readonly line?: (name: string, value: string) => string;
}

/** A LiteLLM of the starting case's shape: a key file with copies of the master key, an env file beside the service. */
export interface Deployment {
  readonly name: string;
  readonly directory: string;
  readonly url: string;
  readonly databaseUrl: string;
  /** The connection string of the worker's own role. */
  readonly workerDatabaseUrl: string;
  readonly keys: { readonly master: string; readonly salt: string | undefined };
  readonly keyFile: string;
  readonly envFile: string;
  readonly service: LiteLLMService;
  /** A `targets` entry of the worker's configuration. */
  readonly target: Record<string, unknown>;
  /** Variables that the configuration refers to. */
  readonly workerEnv: Readonly<Record<string, string>>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** The names that hold the master key in the starting case. */
export const masterNames = [
  'LITELLM_MASTER_KEY',
  'LITELLM_SMOKE_TEST_KEY',
  'LITELLM_HEALTH_API_KEY',
  'LITELLM_PROXY_API_KEY',
];

const newKey = () => `sk-${randomBytes(32).toString('base64url')}`;

/** Writes its files and makes its database. Starts nothing. */
export async function createDeployment(options: DeploymentOptions): Promise<Deployment> {
  const { postgres, directory, name } = options;
  await mkdir(directory, { recursive: true });
  await chmod(directory, 0o755);
  if (options.template === undefined) await createLiteLLMDatabase(postgres, name);
  else await postgres.createDatabase(name, options.template);
  const [proxyRole, workerRole] = [
    `litellm_${name}`.replaceAll('-', '_'),
    `rotate_${name}`.replaceAll('-', '_'),
  ];
  await createRoles(postgres, name, proxyRole, workerRole);

  const keys = options.keys ?? {
    master: newKey(),
    ...(options.withSalt === false ? {} : { salt: newKey() }),
  };
  const line = options.line ?? ((variable, value) => `${variable}="${value}"`);
  const [keyFile, envFile] = [join(directory, '.007'), join(directory, 'env.litellm')];
  const secrets: [string, string][] = [
    ...masterNames.map((variable): [string, string] => [variable, keys.master]),
    ...(keys.salt === undefined ? [] : [['LITELLM_SALT_KEY', keys.salt] as [string, string]]),
    ['LLM_API_KEY', `llm-${randomBytes(9).toString('hex')}`],
    ['EMBEDDING_API_KEY', `emb-${randomBytes(9).toString('hex')}`],
    ['REDIS_PASSWORD', randomBytes(9).toString('hex')],
  ];
  await writeFile(
    keyFile,
    `# keys of ${name}; nothing else reads this file\n${secrets.map(([variable, value]) => line(variable, value)).join('\n')}\n`,
    { mode: 0o600 },
  );
  await writeFile(
    envFile,
    `# beside the service\nDATABASE_URL=${postgres.url(name, proxyRole)}\nSTORE_MODEL_IN_DB=True\n`,
    { mode: 0o600 },
  );

  const port = await freePort();
  const service = await describeLiteLLMService({
    directory: join(directory, 'service'),
    envFiles: [keyFile, envFile],
    port,
    // LiteLLM reads its database anew this often; 30 s when not said.
    extraEnv: { PROXY_CONFIG_RELOAD_INTERVAL_SECONDS: '5' },
  });
  const variable = `${name.replaceAll('-', '_').toUpperCase()}_DATABASE_URL`;
  const { url } = service;
  const verb = (word: 'start' | 'stop' | 'status') => service.command(word);
  return {
    name,
    directory,
    url,
    databaseUrl: postgres.url(name),
    workerDatabaseUrl: postgres.url(name, workerRole),
    keys: { master: keys.master, salt: keys.salt },
    keyFile,
    envFile,
    service,
    workerEnv: { [variable]: postgres.url(name, workerRole) },
    target: {
      database: { url: { env: variable }, proxyRole },
      secrets: {
        files: [
          { path: keyFile, role: 'keys', reader: 'shell' },
          { path: envFile, role: 'copies', reader: 'shell' },
        ],
        masterKey: masterNames,
      },
      service: {
        type: 'command',
        name: 'litellm',
        start: verb('start'),
        stop: verb('stop'),
        status: verb('status'),
        log: service.log,
      },
      proxy: { url },
      observe: '6s',
    },
    async start() {
      untilStopped(
        async () => void (await execa(service.script, ['stop', service.description], { reject: false })),
        () => undefined,
      );
      await execa(service.script, ['start', service.description], { stdio: 'ignore' });
      for (
        const deadline = Date.now() + 120_000;
        !(await isReady(url).catch(() => false));
        await sleep(200)
      ) {
        if (Date.now() > deadline)
          throw new Error(`LiteLLM was not ready in 120 s\n${await tail(service.log)}`);
      }
    },
    async stop() {
      await execa(service.script, ['stop', service.description]);
    },
  };
}

/** Writes the worker's configuration for some deployments. */
export async function writeConfig(
  path: string,
  deployments: readonly Pick<Deployment, 'name' | 'target'>[],
  more: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await writeFile(
    path,
    stringify({
      ...more,
      targets: Object.fromEntries(deployments.map(({ name, target }) => [name, target])),
    }),
  );
}

/** LiteLLM's role, and the worker's with the grants that the README asks for. */
async function createRoles(
  postgres: Postgres,
  database: string,
  proxyRole: string,
  workerRole: string,
): Promise<void> {
  await postgres.createUser(proxyRole);
  await postgres.createUser(workerRole);
  await withClient(postgres.url(database), async (client) => {
    await client.query(`grant all on all tables in schema public to ${proxyRole}`);
    await client.query(`grant all on all sequences in schema public to ${proxyRole}`);
    await client.query(`grant create on database "${database}" to ${workerRole}`);
    await client.query(`grant pg_read_all_stats to ${workerRole}`);
    await client.query(`grant usage on schema public to ${workerRole}`);
    await client.query(`grant select, update on all tables in schema public to ${workerRole}`);
    await client.query(`grant select on all sequences in schema public to ${workerRole}`);
    // A trigger of LiteLLM's on its MCP servers inserts there, with the rights of whoever updates them.
    await client.query(`grant insert on "LiteLLM_Config" to ${workerRole}`);
  });
}
