import { setTimeout } from 'node:timers/promises';
import type { Client } from 'pg';
import { withClient, type Postgres } from '../lab/postgres.ts';
import { say } from '../lab/report.ts';
import { startNode } from './node.ts';
import { shortCount, type BenchOptions } from './options.ts';
import { changeTenth, fillDatabase } from './seed.ts';
import { assertCarriedOver, runOurs, runPeer, withCopy, type Run } from './sides.ts';
import { quantile } from './statistics.ts';
import type { Latency, TrafficReport } from './traffic.ts';

/** All runs of one size and one round trip. */
export interface Series {
  readonly values: number;
  readonly rows: number;
  /** Asked for, and as a query of the server measured it (median of 50), in ms. */
  readonly latencyMs: number;
  readonly roundTripMs: number;
  /** In the order they were made, in turn; empty above `--peer-limit`. */
  readonly peer: readonly Run[];
  readonly ours: readonly Run[];
  /** Ours, with one row of ten changed between stage and swap: caught up with before the swap, or left to it. */
  readonly caughtUp: readonly Run[];
  readonly changed: readonly Run[];
  readonly traffic: Traffic | undefined;
}

/** Latencies of LiteLLM's own queries, in ms. */
export interface Traffic {
  readonly peer: Beside | undefined;
  readonly stage: Beside;
}

/** Before and after the work, and during it: on the same copy, as a copy's first updates take longer than later ones. */
export interface Beside {
  readonly alone: LatencySummary;
  readonly during: LatencySummary;
}

export interface LatencySummary {
  readonly queries: number;
  readonly readMedian: number;
  readonly writeMedian: number;
  readonly write99: number;
  readonly max: number;
}

export async function measureSize(
  postgres: Postgres,
  size: number,
  options: BenchOptions,
): Promise<readonly Series[]> {
  const template = `filled_${size}`;
  const filled = await fillDatabase(postgres, template, size, options.seed);
  say(`${shortCount(size)}: ${filled.values} values in ${filled.rows} rows`);
  const series: Series[] = [];
  for (const latencyMs of options.latencies.filter((ms) => ms === 0 || size <= options.latencyLimit)) {
    series.push(await measure(postgres, template, filled, latencyMs, options));
  }
  return series;
}

async function measure(
  postgres: Postgres,
  template: string,
  filled: { readonly values: number; readonly rows: number },
  latencyMs: number,
  options: BenchOptions,
): Promise<Series> {
  const relay = latencyMs === 0 ? undefined : startNode('relay', [`${postgres.port}`, `${latencyMs}`]);
  const relayPort = await relay?.firstLine();
  const urlOf = (name: string): string => {
    const url = new URL(postgres.url(name));
    if (relayPort !== undefined) url.port = relayPort;
    return url.href;
  };
  const peer: Run[] = [];
  const ours: Run[] = [];
  const caughtUp: Run[] = [];
  const changed: Run[] = [];
  const withPeer = filled.values <= options.peerLimit * 1.01;
  const checked = async (name: string, run: Run, side: string): Promise<Run> => {
    await assertCarriedOver(postgres.url(template), postgres.url(name), filled.values, side);
    const rate = Math.round(run.values / run.seconds);
    const cpu = (run.clientCpuSeconds + run.serverCpuSeconds).toFixed(2);
    const cutover = side === 'ours' ? `, of which the cutover ${run.cutoverSeconds.toFixed(3)} s` : '';
    say(`  ${side}: ${run.seconds.toFixed(3)} s${cutover}, ${rate} values/s, CPU ${cpu} s`);
    return run;
  };
  try {
    for (let at = 0; at < options.runs; at += 1) {
      if (withPeer) {
        peer.push(
          await withCopy(postgres, template, async (name) =>
            checked(name, await runPeer(postgres, urlOf(name)), 'peer'),
          ),
        );
      }
      ours.push(
        await withCopy(postgres, template, async (name) =>
          checked(name, await runOurs(postgres, urlOf(name)), 'ours'),
        ),
      );
      if (latencyMs === 0) {
        for (const [runs, catchUp] of [
          [caughtUp, true],
          [changed, false],
        ] as const) {
          runs.push(
            await withCopy(postgres, template, (name) =>
              runOurs(postgres, urlOf(name), { between: changeTenth, catchUp }),
            ),
          );
        }
      }
    }
    const roundTripMs = await roundTrip(urlOf(template));
    const traffic =
      options.traffic && latencyMs === 0 ? await measureTraffic(postgres, template, withPeer) : undefined;
    return { ...filled, latencyMs, roundTripMs, peer, ours, caughtUp, changed, traffic };
  } finally {
    await relay?.finish();
  }
}

async function roundTrip(url: string): Promise<number> {
  return withClient(url, (client) => medianMs(client, 'select 1', 50));
}

/** How long a statement takes, over and over, in ms. */
export async function medianMs(client: Client, statement: string, times: number): Promise<number> {
  const samples: number[] = [];
  for (let at = 0; at < times; at += 1) {
    const since = performance.now();
    await client.query(statement);
    samples.push(performance.now() - since);
  }
  return quantile(samples, 0.5);
}

/** One run of each side beside LiteLLM's queries. The swap is not among them: LiteLLM is stopped then. */
async function measureTraffic(postgres: Postgres, template: string, withPeer: boolean): Promise<Traffic> {
  const beside = (work: (url: string) => Promise<Run>): Promise<Beside> =>
    withCopy(postgres, template, async (name) => {
      const url = postgres.url(name);
      const program = startNode('traffic', [], { url });
      await setTimeout(warmUpMs);
      const before = await window(() => setTimeout(aloneMs));
      const { beganAt, seconds } = await work(url);
      const after = await window(() => setTimeout(aloneMs));
      const report = JSON.parse(await program.finish()) as TrafficReport;
      return {
        alone: summarize(report, [before, after]),
        during: summarize(report, [[beganAt, beganAt + seconds * 1000]]),
      };
    });
  const stage = await beside((url) => runOurs(postgres, url, { stageOnly: true }));
  return { stage, peer: withPeer ? await beside((url) => runPeer(postgres, url)) : undefined };
}

const warmUpMs = 2_000;
const aloneMs = 4_000;

/** From when to when, in ms since 1970. */
type Window = readonly [from: number, until: number];

async function window(wait: () => Promise<unknown>): Promise<Window> {
  const from = Date.now();
  await wait();
  return [from, Date.now()];
}

function summarize({ reads, writes }: TrafficReport, windows: readonly Window[]): LatencySummary {
  const within = (latencies: readonly Latency[]): number[] =>
    latencies
      .filter(([at, took]) => windows.some(([from, until]) => at + took >= from && at <= until))
      .map(([, took]) => took);
  const [read, write] = [within(reads), within(writes)];
  return {
    queries: read.length + write.length,
    readMedian: quantile(read, 0.5),
    writeMedian: quantile(write, 0.5),
    write99: quantile(write, 0.99),
    max: quantile([...read, ...write], 1),
  };
}
