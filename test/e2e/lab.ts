import { Client, Connection } from '@temporalio/client';
import { execa } from 'execa';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stopAll, untilStopped } from '../../lab/cleanup.ts';
import { createDeployment, type Deployment, type DeploymentOptions } from '../../lab/deployment.ts';
import { type Provider, startProvider } from '../../lab/litellm/provider.ts';
import { type Seeded, seedLiteLLM } from '../../lab/litellm/seed.ts';
import { type Postgres, startPostgres } from '../../lab/postgres.ts';
import { type Temporal, findTemporalCli, startTemporal } from '../../lab/temporal.ts';
import { cliPath } from '../../lab/worker.ts';

/** How a command ended, with what it wrote. */
export interface Ended {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** The real parts that one file of tests shares. */
export interface Lab {
  readonly directory: string;
  readonly temporal: Temporal;
  readonly postgres: Postgres;
  readonly provider: Provider;
  readonly client: Client;
  /** What the command line, or a worker, needs of the environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Our command line as a process of its own. */
  cli(...args: readonly string[]): Promise<Ended>;
  /** The plain `temporal` CLI. */
  temporalCli(...args: readonly string[]): Promise<Ended>;
  /** A deployment below the lab's directory. */
  deploy(name: string, options?: Partial<DeploymentOptions>): Promise<Deployment>;
  stop(): Promise<void>;
}

export interface LabOptions {
  /** The name of a file in the lab's directory that Temporal keeps its workflows in. @default none, in memory */
  readonly temporalFile?: string;
  /** Settings of postgresql.conf. */
  readonly postgresSettings?: Readonly<Record<string, string>>;
}

/** Starts Temporal, Postgres and a provider, all on 127.0.0.1: about 2 s. */
export async function startLab(options: LabOptions = {}): Promise<Lab> {
  const directory = await mkdtemp(join(tmpdir(), 'litellm-rotate-e2e-'));
  untilStopped(
    () => rm(directory, { recursive: true, force: true }),
    () => undefined,
  );
  const [temporal, postgres, provider, temporalPath] = await Promise.all([
    startTemporal(
      options.temporalFile === undefined ? {} : { dbFilename: join(directory, options.temporalFile) },
    ),
    startPostgres({ settings: options.postgresSettings ?? {} }),
    startProvider(),
    findTemporalCli(),
  ]);
  const connection = await Connection.connect({ address: temporal.address });
  // An own home, so that no profile of whoever runs the tests is read.
  const env = { PATH: process.env.PATH ?? '', HOME: directory, TEMPORAL_ADDRESS: temporal.address };
  const run = async (file: string, args: readonly string[]): Promise<Ended> => {
    const { exitCode, stdout, stderr } = await execa(file, args, {
      env,
      extendEnv: false,
      cwd: directory,
      reject: false,
      timeout: 300_000,
    });
    return { exitCode, stdout, stderr };
  };
  return {
    directory,
    temporal,
    postgres,
    provider,
    client: new Client({ connection }),
    env,
    cli: (...args) => run(process.execPath, [cliPath, ...args]),
    temporalCli: (...args) => run(temporalPath, args),
    deploy: (name, deployment = {}) =>
      createDeployment({ postgres, directory: join(directory, name), name, ...deployment }),
    async stop() {
      await connection.close();
      await stopAll();
    },
  };
}

/** Stores one of everything in a deployment that runs. */
export function seed(lab: Lab, { url, databaseUrl, keys }: Deployment): Promise<Seeded> {
  return seedLiteLLM({
    url,
    masterKey: keys.master,
    databaseUrl,
    signingKey: keys.salt ?? keys.master,
    providerUrl: lab.provider.url,
  });
}
