import { writeFile } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { stopAll } from '../lab/cleanup.ts';
import { startPostgres, withClient, type Postgres } from '../lab/postgres.ts';
import { say } from '../lab/report.ts';
import { versions } from '../lab/versions.ts';
import { measureSize, medianMs, type Series } from './measurement.ts';
import { parseOptions, usage, type BenchOptions } from './options.ts';
import { measureSearch, type Search } from './search.ts';
import { renderSearch, renderTables } from './table.ts';

/** What the benchmark writes as JSON: every run, so that other figures can be made of it. */
export interface BenchDocument {
  readonly at: string;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly load: readonly number[] };
  readonly versions: { readonly node: string; readonly postgres: string; readonly litellm: string };
  readonly options: BenchOptions;
  /** A commit of one changed row, the median of 100. */
  readonly commitMs: number;
  readonly series: readonly Series[];
  readonly search: Search;
}

/** A server as for production, but without a checkpoint or an autovacuum in the middle of a run of either side. */
const settings = {
  shared_buffers: '512MB',
  max_wal_size: '8GB',
  checkpoint_timeout: '1h',
  autovacuum: 'off',
} as const;

async function bench(options: BenchOptions): Promise<BenchDocument> {
  const load = loadavg();
  const postgres = await startPostgres({
    fsync: true,
    settings: {
      ...settings,
      synchronous_commit: options.synchronousCommit,
      // In microseconds; with no siblings asked for, a lone commit waits, too.
      commit_delay: `${Math.round(options.commitDelay * 1000)}`,
      commit_siblings: '0',
    },
  });
  const { rows } = await withClient(postgres.adminUrl, (client) =>
    client.query<{ server_version: string }>('show server_version'),
  );
  const commitMs = await measureCommit(postgres);
  const series: Series[] = [];
  for (const size of options.values) series.push(...(await measureSize(postgres, size, options)));
  const search = await measureSearch(postgres, options.runs, options.seed);
  await postgres.stop();
  return {
    at: new Date().toISOString(),
    machine: { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, load },
    versions: {
      node: process.version,
      postgres: rows[0]?.server_version ?? 'unknown',
      litellm: versions.litellm,
    },
    options,
    commitMs,
    series,
    search,
  };
}

async function measureCommit(postgres: Postgres): Promise<number> {
  return withClient(postgres.adminUrl, async (client) => {
    await client.query('create table commits as select 0 as n');
    const median = await medianMs(client, 'update commits set n = n + 1', 100);
    await client.query('drop table commits');
    return median;
  });
}

let options: BenchOptions;
try {
  options = parseOptions(process.argv.slice(2));
} catch (error) {
  console.error(`bench: error: ${error instanceof Error ? error.message : String(error)}\n${usage}`);
  process.exit(2);
}
try {
  const document = await bench(options);
  const { machine, versions: used } = document;
  console.log(
    `${machine.cpu}, ${machine.cores} cores, load ${machine.load[0]?.toFixed(1)} at the start; Node ${used.node}, Postgres ${used.postgres}, LiteLLM ${used.litellm}; synchronous_commit ${options.synchronousCommit}, a commit takes ${document.commitMs.toFixed(2)} ms; ${options.runs} runs each, in turn\n`,
  );
  console.log(renderTables(document.series));
  console.log(`\n${renderSearch(document.search)}`);
  const file = options.json ?? join(tmpdir(), 'litellm-rotate-bench.json');
  await writeFile(file, `${JSON.stringify(document, undefined, 1)}\n`);
  say(`written to ${file}`);
} finally {
  await stopAll();
}
