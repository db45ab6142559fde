import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { Client } from 'pg';

/**
 * What a busy LiteLLM asks of its database, in a process of its own: it looks up the virtual key of each request, and
 * writes its spend. Connection string as JSON on stdin; at the end of stdin the latencies go to stdout as JSON.
 */
export interface TrafficReport {
  readonly reads: readonly Latency[];
  readonly writes: readonly Latency[];
}

/** When a query was sent, in ms since 1970, and how long it took, in ms. */
export type Latency = readonly [sentAt: number, took: number];

const pauseMs = 3;
const connections = 4;
const readKey = `
  select v.*, t.spend as team_spend, t.models as team_models from "LiteLLM_VerificationToken" as v
  left join "LiteLLM_TeamTable" as t on t.team_id = v.team_id where v.token = $1`;
const writeSpend = `update "LiteLLM_VerificationToken" set spend = spend + 0.001, last_active = now() where token = $1`;

const [line] = (await once(process.stdin.setEncoding('utf8'), 'data')) as [string];
const { url } = JSON.parse(line) as { url: string };
let ended = false;
process.stdin.on('end', () => (ended = true)).resume();

const reads: Latency[] = [];
const writes: Latency[] = [];
async function serve(offset: number): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ token: string }>(
    'select token from "LiteLLM_VerificationToken" order by md5(token) limit 200 offset $1',
    [offset * 200],
  );
  for (let at = 0; !ended; at = (at + 1) % rows.length) {
    const token = rows[at]?.token;
    reads.push(await timed(() => client.query({ name: 'read', text: readKey, values: [token] })));
    writes.push(await timed(() => client.query({ name: 'write', text: writeSpend, values: [token] })));
    await setTimeout(pauseMs);
  }
  await client.end();
}

async function timed(run: () => Promise<unknown>): Promise<Latency> {
  const since = performance.now();
  await run();
  return [performance.timeOrigin + since, performance.now() - since];
}

await Promise.all(Array.from({ length: connections }, (_, at) => serve(at)));
process.stdout.write(JSON.stringify({ reads, writes } satisfies TrafficReport));
