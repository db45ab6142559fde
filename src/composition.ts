import type { Ports, Target } from './activities/ports.ts';
import type { Config, TargetConfig } from './config/schema.ts';
import { expandHome, resolveSecret } from './config/secret-reference.ts';
import { createProxy } from './litellm/proxy.ts';
import { createRotationDatabase, type RotationDatabaseOptions } from './reencryption/rotation-database.ts';
import type { Rehearsal } from './rehearsal/port.ts';
import { createRehearsal } from './rehearsal/rehearsal.ts';
import { failureTypes, RotationError } from './rotation/failure.ts';
import { createFingerprinter } from './rotation/fingerprint.ts';
import { createRedactor } from './rotation/redaction.ts';
import type { Secret } from './rotation/secret.ts';
import { createEnvFileStore } from './secret-stores/env-file/store.ts';
import { createCommandService } from './services/command-service.ts';
import { createDockerComposeService } from './services/docker-compose-service.ts';
import type { Service } from './services/port.ts';
import { createSystemdService } from './services/systemd-service.ts';

export { strangerFinding } from './activities/stranger.ts';

/** Everything that the activities and `doctor` need, wired to the real adapters. */
export interface Composition extends Ports, AsyncDisposable {
  readonly targets: readonly Target[];
}

/**
 * Builds the ports of every target. `isRunning` asks Temporal about another rotation's workflow. Throws `BadRequest`
 * for a reference to a secret that is not there.
 */
export function compose(config: Config, env: NodeJS.ProcessEnv, isRunning: Ports['isRunning']): Composition {
  const targets = new Map(
    Object.entries(config.targets).map(([name, target]) => [name, createTarget(name, target, env)]),
  );
  const fingerprinters = new Map<string, Promise<ReturnType<typeof createFingerprinter>>>();
  return {
    targets: [...targets.values()],
    isRunning,
    createRedactor,
    target(name) {
      const target = targets.get(name);
      if (target !== undefined) return target;
      throw new RotationError(
        failureTypes.badRequest,
        `found no target "${name}" in the worker's configuration; expected one of ${[...targets.keys()].join(', ')}`,
      );
    },
    async fingerprint(target, key) {
      let fingerprinter = fingerprinters.get(target.name);
      if (fingerprinter === undefined) {
        fingerprinter = target.database.fingerprintKey().then(createFingerprinter);
        // A database that could not be reached is asked again.
        fingerprinter.catch(() => fingerprinters.delete(target.name));
        fingerprinters.set(target.name, fingerprinter);
      }
      return (await fingerprinter)(key);
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled(
        [...targets.values()].flatMap(({ database, rehearsal }) => [
          database.close(),
          ...(rehearsal === undefined ? [] : [rehearsal.close()]),
        ]),
      );
    },
  };
}

function createTarget(name: string, config: TargetConfig, env: NodeJS.ProcessEnv): Target {
  const { secrets, proxy, canary } = config;
  const connectionString = resolveSecret(config.database.url, `targets.${name}.database.url`, env);
  const files = secrets.files.map((file) => ({ ...file, path: expandHome(file.path) }));
  return {
    name,
    database: named(`targets.${name}.database.url`, () =>
      createRotationDatabase(databaseOptions(connectionString, config)),
    ),
    store: createEnvFileStore({
      files,
      names: { master: secrets.masterKey, salt: secrets.saltKey },
      ...defined({
        slotDirectory: secrets.slotDirectory === undefined ? undefined : expandHome(secrets.slotDirectory),
      }),
    }),
    service: createService(config.service, {
      // python-dotenv reads a file within LiteLLM: no definition of a service names it.
      envFiles: files.filter(({ reader }) => reader !== 'dotenv').map(({ path }) => path),
      variables: [...secrets.masterKey, ...secrets.saltKey],
    }),
    proxies: [
      createProxy({
        url: proxy.url,
        paths: pathsOf(config),
      }),
    ],
    rehearsal:
      config.rehearsal && createTargetRehearsal(name, config, config.rehearsal, connectionString, env),
    canary: { host: canary.listen?.host ?? '127.0.0.1', port: canary.listen?.port ?? 0, url: canary.url },
    variables: {
      master: secrets.masterKey[0] ?? 'LITELLM_MASTER_KEY',
      salt: secrets.saltKey[0] ?? 'LITELLM_SALT_KEY',
    },
    readsKeysItself: files.some(({ role, reader }) => role === 'keys' && reader === 'dotenv'),
    knownKeys: config.knownKeys.map(({ label, key }, index) => ({
      label,
      key: resolveSecret(key, `targets.${name}.knownKeys.${index}.key`, env),
    })),
    readsFormats: proxy.readsFormats,
    timing: {
      readyTimeoutMs: proxy.readyTimeout,
      fenceTimeoutMs: config.fenceTimeout,
      observeMs: config.observe,
      maxOutageMs: config.maxOutage,
    },
  };
}

/** Says which of several targets a mistake is in. */
function named<T>(where: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RotationError)) throw error;
    throw new RotationError(error.type, `${where}: ${error.message}`);
  }
}

function databaseOptions(
  connectionString: Secret,
  { database }: TargetConfig,
  proxyRole = database.proxyRole,
): RotationDatabaseOptions {
  return {
    connectionString,
    lockTimeoutMs: database.lockTimeout,
    backOff: database.backOff,
    ...defined({
      schema: database.schema,
      proxyRole,
      statementTimeoutMs: database.statementTimeout,
      throttleValuesPerSecond: database.throttle,
      extraSkippedTables: database.skipTables,
    }),
  };
}

function pathsOf({ proxy }: TargetConfig) {
  return defined({ readiness: proxy.readinessPath, authenticated: proxy.modelsPath });
}

function createTargetRehearsal(
  name: string,
  target: TargetConfig,
  config: NonNullable<TargetConfig['rehearsal']>,
  source: Secret,
  env: NodeJS.ProcessEnv,
): Rehearsal {
  const { server, start, port, workingDirectory, environment, clone, always, readyTimeout } = config;
  return createRehearsal({
    source,
    clone,
    start,
    port,
    paths: pathsOf(target),
    environment,
    variables: { master: target.secrets.masterKey, salt: target.secrets.saltKey },
    readyTimeoutMs: readyTimeout ?? target.proxy.readyTimeout,
    always,
    openDatabase: (connectionString, proxyRole) =>
      createRotationDatabase(databaseOptions(connectionString, target, proxyRole)),
    ...defined({
      schema: target.database.schema,
      statementTimeoutMs: target.database.statementTimeout,
      server: server && resolveSecret(server, `targets.${name}.rehearsal.server`, env),
      searchPath: env['PATH'],
      cwd: workingDirectory === undefined ? undefined : expandHome(workingDirectory),
    }),
  });
}

/** `keys` is what a definition of the service is held against: the files that it must read, the variables that it must not set. */
function createService(
  config: TargetConfig['service'],
  keys: { readonly envFiles: readonly string[]; readonly variables: readonly string[] },
): Service {
  const { variables } = keys;
  const timeouts = defined({ stopTimeoutMs: config.stopTimeout, startTimeoutMs: config.startTimeout });
  switch (config.type) {
    case 'systemd':
      return createSystemdService({ unit: config.unit, scope: config.scope, ...keys, ...timeouts });
    case 'command': {
      const { name, start, stop, status, environment, workingDirectory, log } = config;
      const cwd = workingDirectory === undefined ? undefined : expandHome(workingDirectory);
      return createCommandService({
        start,
        stop,
        status,
        variables,
        ...defined({ name, environment, cwd, log: log === undefined ? undefined : expandHome(log) }),
        ...timeouts,
      });
    }
    case 'docker-compose': {
      const { projectDirectory, files, projectName, service, docker, environment } = config;
      return createDockerComposeService({
        projectDirectory: expandHome(projectDirectory),
        service,
        docker,
        ...keys,
        ...defined({ files, projectName, environment }),
        ...timeouts,
      });
    }
  }
}

/** Leaves out what is undefined, which `exactOptionalPropertyTypes` tells from absent. */
function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
