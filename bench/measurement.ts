import type { Client } from 'pg';
import { withClient, type Postgres } from '../lab/postgres.ts';
import { say } from '../lab/report.ts';
import { measureTraffic, type Traffic } from './beside-traffic.ts';
import { startNode } from './node.ts';
import { shortCount, type BenchOptions } from './options.ts';
import { changeTenth, fillDatabase } from './seed.ts';
import { assertCarriedOver, runOurs, runPeer, withCopy, type Run } from './sides.ts';
import { quantile } from './statistics.ts';

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

export async function measureSize(
  postgres: Postgres,
  size: number,
  options: BenchOptions,
): Promise<readonly Series[]> {
  const filled = await fillDatabase(postgres, templateOf(size), size, options.seed);
  say(`${shortCount(size)}: ${filled.values} values in ${filled.rows} rows`);
  const series: Series[] = [];
  for (const latencyMs of options.latencies.filter((ms) => ms === 0 || size <= options.latencyLimit)) {
    series.push(await measure(postgres, size, filled, latencyMs, options));
  }
  return series;
}

const templateOf = (size: number): string => `filled_${size}`;

async function measure(
  postgres: Postgres,
  size: number,
  filled: { readonly values: number; readonly rows: number },
  latencyMs: number,
  options: BenchOptions,
): Promise<Series> {
  const template = templateOf(size);
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
    // Of the largest size alone: the smaller ones are over before their medians mean anything.
    const withTraffic = options.traffic && latencyMs === 0 && size === Math.max(...options.values);
    const traffic = withTraffic
      ? await measureTraffic(postgres, template, { runs: options.runs, withPeer })
      : undefined;
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
