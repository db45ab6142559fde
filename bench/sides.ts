import { withClient, type Postgres } from '../lab/postgres.ts';
import { startNode } from './node.ts';
import type { OursReport, OursRequest } from './ours.ts';
import { runPython } from './python.ts';
import { benchKeys } from './seed.ts';
import { serverCpuSeconds } from './server-cpu.ts';

/** One timed run of either side. */
export interface Run {
  readonly values: number;
  readonly seconds: number;
  /** Ours only: the part of `seconds` for which LiteLLM has to stand still. */
  readonly cutoverSeconds: number;
  readonly lateValues: number;
  readonly clientCpuSeconds: number;
  /** All processes of the Postgres server, from before the client's connection to after it. */
  readonly serverCpuSeconds: number;
  readonly restingMiB: number;
  readonly addedMiB: number;
  readonly beganAt: number;
}

/** Makes a fresh copy of a filled database, lends its name, and drops it. */
export async function withCopy<T>(
  postgres: Postgres,
  template: string,
  use: (name: string) => Promise<T>,
): Promise<T> {
  const name = `copy_${(copies += 1)}`;
  await postgres.createDatabase(name, template);
  // Else the run pays for the copy's dirty pages.
  await withClient(postgres.adminUrl, (client) => client.query('checkpoint'));
  try {
    return await use(name);
  } finally {
    await withClient(postgres.adminUrl, (client) => client.query(`drop database ${name} with (force)`));
  }
}
let copies = 0;

/** LiteLLM's `reencrypt_stored_values`. */
export async function runPeer(postgres: Postgres, url: string): Promise<Run> {
  const before = await serverCpuSeconds(postgres.dataDirectory);
  const report = await runPython<{
    values: number;
    seconds: number;
    cpuSeconds: number;
    restingMiB: number;
    peakMiB: number;
    beganAt: number;
  }>('peer', { url, ...benchKeys });
  return {
    values: report.values,
    seconds: report.seconds,
    cutoverSeconds: report.seconds,
    lateValues: 0,
    clientCpuSeconds: report.cpuSeconds,
    serverCpuSeconds: (await serverCpuSeconds(postgres.dataDirectory)) - before,
    restingMiB: report.restingMiB,
    addedMiB: report.peakMiB - report.restingMiB,
    beganAt: report.beganAt,
  };
}

/** Stage and swap. */
export async function runOurs(
  postgres: Postgres,
  url: string,
  more: Pick<OursRequest, 'between' | 'catchUp' | 'stageOnly' | 'throttleValuesPerSecond'> = {},
): Promise<Run> {
  const before = await serverCpuSeconds(postgres.dataDirectory);
  const program = startNode('ours', [], { url, ...benchKeys, ...more } satisfies OursRequest);
  const report = JSON.parse(await program.finish()) as OursReport;
  return {
    values: report.values,
    seconds: report.stageSeconds + report.swapSeconds,
    cutoverSeconds: report.swapSeconds,
    lateValues: report.lateValues,
    clientCpuSeconds: report.cpuSeconds,
    serverCpuSeconds: (await serverCpuSeconds(postgres.dataDirectory)) - before,
    restingMiB: report.restingMiB,
    addedMiB: report.peakMiB - report.restingMiB,
    beganAt: report.beganAt,
  };
}

/** Every value of `after` against `before`, or an error that names the rows that are wrong. */
export async function assertCarriedOver(
  before: string,
  after: string,
  values: number,
  side: string,
): Promise<void> {
  const found = await runPython<{ values: number; wrong: string[]; wrongRows: number }>('check', {
    before,
    after,
    ...benchKeys,
  });
  if (found.wrongRows > 0 || found.values !== values) {
    throw new Error(
      `${side}: ${found.wrongRows} rows are wrong, and ${found.values} of ${values} values were carried over\n${found.wrong.join('\n')}`,
    );
  }
}
