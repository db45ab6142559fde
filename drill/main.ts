import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { stopAll } from '../lab/cleanup.ts';
import { stopwatch } from '../lab/report.ts';
import { drill, isGood } from './drill.ts';
import { describeRun, table } from './table.ts';

const { values } = parseArgs({
  options: {
    sample: { type: 'string' },
    seed: { type: 'string' },
    lanes: { type: 'string' },
    service: { type: 'string', default: 'stand-in' },
    only: { type: 'string' },
  },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9));
const since = stopwatch();
const { service } = values;
if (service !== 'stand-in' && service !== 'litellm') {
  console.error(`drill: error: --service is ${service}, expected stand-in or litellm`);
  process.exit(2);
}
// A kill is mostly waiting; a LiteLLM that starts is all work.
const lanes = Number(values.lanes ?? availableParallelism() * (service === 'litellm' ? 1 : 3));

try {
  if (values.sample !== undefined) console.log(`a sample of ${values.sample} by --seed ${seed}`);
  const ends = await drill({
    lanes,
    serviceKind: service,
    ...(values.sample === undefined ? {} : { sample: { count: Number(values.sample), seed } }),
    ...(values.only === undefined ? {} : { only: new RegExp(values.only) }),
    report: (ended, done, of) => console.log(`${`${done}/${of}`.padStart(9)} ${describeRun(ended)}`),
  });
  console.log(`\n${table(ends)}\nin ${since()}`);
  process.exitCode = ends.every(isGood) ? 0 : 1;
} catch (error) {
  console.error(`drill: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  process.exitCode = 1;
} finally {
  await stopAll();
}
