import { setTimeout } from 'node:timers/promises';
import type { Postgres } from '../lab/postgres.ts';
import { say } from '../lab/report.ts';
import { startNode } from './node.ts';
import { runOurs, runPeer, withCopy } from './sides.ts';
import { quantile } from './statistics.ts';
import type { Latency, TrafficReport } from './traffic.ts';

/** Runs beside LiteLLM's own queries, in turn. */
export interface Traffic {
  /** Beside no work at all, for as long as stage takes: how far two medians of the same are apart on this machine. */
  readonly nothing: readonly Beside[];
  /** The swap is not in it: LiteLLM is stopped then. */
  readonly stage: readonly Beside[];
  readonly peer: readonly Beside[];
}

/** Before and after the work, and during it: on the same copy, as a copy's first updates take longer than later ones. */
export interface Beside {
  readonly alone: LatencySummary;
  readonly during: LatencySummary;
  /** How long the work took. */
  readonly seconds: number;
}

/** Latencies of LiteLLM's own queries, in ms. */
export interface LatencySummary {
  readonly queries: number;
  readonly readMedian: number;
  readonly writeMedian: number;
  readonly write99: number;
  readonly max: number;
}

const warmUpMs = 2_000;
const aloneMs = 4_000;

export async function measureTraffic(
  postgres: Postgres,
  template: string,
  { runs, withPeer }: { readonly runs: number; readonly withPeer: boolean },
): Promise<Traffic> {
  type Work = (url: string) => Promise<{ readonly beganAt: number; readonly seconds: number }>;
  const beside = (work: Work): Promise<Beside> =>
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
        seconds,
      };
    });
  const nothing: Beside[] = [];
  const stage: Beside[] = [];
  const peer: Beside[] = [];
  for (let at = 0; at < runs; at += 1) {
    const staged = await beside((url) => runOurs(postgres, url, { stageOnly: true }));
    stage.push(staged);
    nothing.push(
      await beside(async () => {
        const beganAt = Date.now();
        await setTimeout(staged.seconds * 1000);
        return { beganAt, seconds: staged.seconds };
      }),
    );
    if (withPeer) peer.push(await beside((url) => runPeer(postgres, url)));
    say(
      `  beside LiteLLM's queries, writes: ${longer(staged)} stage, ${longer(nothing.at(-1))} nothing${withPeer ? `, ${longer(peer.at(-1))} peer` : ''}`,
    );
  }
  return { nothing, stage, peer };
}

const longer = (beside: Beside | undefined): string =>
  beside === undefined
    ? ''
    : `${((beside.during.writeMedian / beside.alone.writeMedian - 1) * 100).toFixed(0)} %`;

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
