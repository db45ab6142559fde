import { readFile, writeFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { Client } from 'pg';
import { createRotationDatabase } from '../src/reencryption/rotation-database.ts';
import type { NamedKey } from '../src/rotation/keys.ts';
import { Secret } from '../src/rotation/secret.ts';

/**
 * This project's re-encryption, timed, in a process of its own. Reads an `OursRequest` as JSON on stdin, writes an
 * `OursReport` on stdout. Imports and the first connection are not in the times, as with the peer.
 */
export interface OursRequest {
  readonly url: string;
  readonly from: string;
  readonly to: string;
  /** SQL that changes rows after stage, before the swap. */
  readonly between?: string;
  /** Stage again after it, as a rotation does before the fence: what was changed is caught up with. */
  readonly catchUp?: boolean;
  /** Only stage: what runs while LiteLLM serves. */
  readonly stageOnly?: boolean;
  readonly throttleValuesPerSecond?: number;
}

export interface OursReport {
  readonly values: number;
  readonly lateValues: number;
  readonly prepareSeconds: number;
  readonly stageSeconds: number;
  readonly swapSeconds: number;
  /** Of this process, during stage and swap. */
  readonly cpuSeconds: number;
  readonly restingMiB: number;
  readonly peakMiB: number;
  /** When stage began, in ms since 1970. */
  readonly beganAt: number;
}

const request = JSON.parse(await text(process.stdin)) as OursRequest;
const from: NamedKey = { label: 'salt key', key: new Secret(request.from) };
const to: NamedKey = { label: 'pending salt key', key: new Secret(request.to) };
const transition = { known: [from], to, from };
const masterKey = { from: new Secret('sk-bench-master'), to: new Secret('sk-bench-master-2') };
const silent = (): void => undefined;

const database = createRotationDatabase({
  connectionString: new Secret(request.url),
  ...(request.throttleValuesPerSecond === undefined
    ? {}
    : { throttleValuesPerSecond: request.throttleValuesPerSecond }),
});
await database.lease();

const clock = (): (() => number) => {
  const since = performance.now();
  return () => (performance.now() - since) / 1000;
};
const preparing = clock();
await database.prepareJournal();
await database.acquireLease({ rotation: 'r-1', target: 'bench', workflowId: 'bench', runId: '1' });
const fence = await database.fence('r-1');
const prepareSeconds = preparing();

await writeFile('/proc/self/clear_refs', '5'); // the peak counts from here
const restingMiB = await memory('VmRSS');
const cpuBefore = process.cpuUsage();
const beganAt = Date.now();
const staging = clock();
const staged = await database.stage(transition, fence, silent, new AbortController().signal);
const stageSeconds = staging();
let cpu = process.cpuUsage(cpuBefore);

if (request.between !== undefined) {
  const client = new Client({ connectionString: request.url });
  await client.connect();
  await client.query(request.between);
  await client.end();
  if (request.catchUp === true) await database.stage(transition, fence, silent, new AbortController().signal);
}

let swapSeconds = 0;
let lateValues = 0;
let { values } = staged;
if (request.stageOnly !== true) {
  const cpuAtSwap = process.cpuUsage();
  const swapping = clock();
  ({ values, lateValues } = await database.swap(transition, masterKey, fence, silent));
  swapSeconds = swapping();
  const swapCpu = process.cpuUsage(cpuAtSwap);
  cpu = { user: cpu.user + swapCpu.user, system: cpu.system + swapCpu.system };
}
const report: OursReport = {
  values,
  lateValues,
  prepareSeconds,
  stageSeconds,
  swapSeconds,
  cpuSeconds: (cpu.user + cpu.system) / 1e6,
  restingMiB,
  peakMiB: await memory('VmHWM'),
  beganAt,
};
console.log(JSON.stringify(report));
await database.close();

async function memory(name: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8');
  return Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(status)?.[1]) / 1024;
}
