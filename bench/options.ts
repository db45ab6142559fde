import { parseArgs } from 'node:util';

export interface BenchOptions {
  /** Sizes: how many sealed values the database holds. */
  readonly values: readonly number[];
  /** Measured runs of each side, in turn. */
  readonly runs: number;
  /** Round trips that are simulated, in ms; 0 is loopback. */
  readonly latencies: readonly number[];
  /** Sizes above this are not run with a simulated round trip: the peer would take hours. */
  readonly latencyLimit: number;
  readonly seed: number;
  readonly synchronousCommit: 'on' | 'off';
  /** Added to every commit, in ms: a disk that is slower than this one. */
  readonly commitDelay: number;
  /** Whether LiteLLM's own queries are timed while each side works. */
  readonly traffic: boolean;
  /** Sizes above this are run without the peer. */
  readonly peerLimit: number;
  readonly json: string | undefined;
}

export const usage = `npm run bench -- [--values 1k,10k,100k] [--runs 5] [--latency 2] [--latency-limit 10k] [--seed 1]
                 [--synchronous-commit on|off] [--commit-delay 1] [--no-traffic] [--peer-limit 1m] [--json FILE]`;

/** Throws an `Error` that says which option is wrong. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    allowNegative: true,
    options: {
      values: { type: 'string', default: '1k,10k,100k' },
      runs: { type: 'string', default: '5' },
      latency: { type: 'string', default: '0' },
      'latency-limit': { type: 'string', default: '10k' },
      seed: { type: 'string', default: '1' },
      'synchronous-commit': { type: 'string', default: 'on' },
      'commit-delay': { type: 'string', default: '0' },
      traffic: { type: 'boolean', default: true },
      'peer-limit': { type: 'string', default: '1m' },
      json: { type: 'string' },
    },
  });
  const commit = values['synchronous-commit'];
  if (commit !== 'on' && commit !== 'off')
    throw new Error(`--synchronous-commit is ${commit}, expected on or off`);
  const latency = Number(values.latency);
  if (!(latency >= 0)) throw new Error(`--latency is ${values.latency}, expected milliseconds`);
  const commitDelay = Number(values['commit-delay']);
  if (!(commitDelay >= 0 && commitDelay <= 100))
    throw new Error(`--commit-delay is ${values['commit-delay']}, expected milliseconds, up to 100`);
  return {
    values: values.values.split(',').map((size) => parseCount(size, '--values')),
    runs: parseCount(values.runs, '--runs'),
    latencies: latency > 0 ? [0, latency] : [0],
    latencyLimit: parseCount(values['latency-limit'], '--latency-limit'),
    seed: parseCount(values.seed, '--seed'),
    synchronousCommit: commit,
    commitDelay,
    traffic: values.traffic,
    peerLimit: parseCount(values['peer-limit'], '--peer-limit'),
    json: values.json,
  };
}

/** `10k` and `1m` as people write them. */
function parseCount(text: string, option: string): number {
  const match = /^(\d+)([km]?)$/i.exec(text.trim());
  const unit = { k: 1_000, m: 1_000_000 }[match?.[2]?.toLowerCase() ?? ''] ?? 1;
  const count = Number(match?.[1]) * unit;
  if (!(count >= 1)) throw new Error(`${option} has ${text}, expected a number such as 500, 10k or 1m`);
  return count;
}

/** 100000 as `100k`. */
export function shortCount(count: number): string {
  if (count % 1_000_000 === 0) return `${count / 1_000_000}m`;
  return count % 1000 === 0 ? `${count / 1000}k` : `${count}`;
}
