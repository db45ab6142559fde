import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { untilStopped } from '../lab/cleanup.ts';
import { allDrills, backwardRecording, expected, forwardRecording, sample } from './drills.ts';
import type { ServiceKind } from './deployment.ts';
import { type Lane, startLane } from './lane.ts';
import { type Drill, type Ended, run } from './run.ts';
import { makeSeed } from './seed.ts';

export interface DrillOptions {
  /** Deployments that are drilled at the same time. A kill is mostly waiting, for a heartbeat that does not come. */
  readonly lanes: number;
  /** How many, and by which seed. @default all */
  readonly sample?: { readonly count: number; readonly seed: number };
  /** Only drills whose name matches. @default all */
  readonly only?: RegExp;
  readonly serviceKind: ServiceKind;
  /** Told of each run as it ends. */
  readonly report: (ended: Ended, done: number, of: number) => void;
}

/** Whether a run ended as it may: on one side, the right one, without a person where none is needed. */
export function isGood({ drill, ended, askedForPerson }: Ended): boolean {
  if (ended === 'not reached') return true;
  return (
    (ended === 'new' || ended === 'restored') &&
    expected(drill).includes(ended) &&
    (!askedForPerson || drill.person !== undefined)
  );
}

/** Records the points, and then lets each fault happen in a run of its own. */
export async function drill(options: DrillOptions): Promise<Ended[]> {
  const { serviceKind } = options;
  const directory = await mkdtemp(join(tmpdir(), 'litellm-rotate-drill-'));
  const remove = untilStopped(
    () => rm(directory, { recursive: true, force: true }),
    () => undefined,
  );
  // The lab ends what runs when this process is told to end; nothing new may begin meanwhile.
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => ending.abort());
  const lanes: Lane[] = [];
  try {
    const seeded = makeSeed();
    for (let at = 1; at <= options.lanes; at += 1) {
      const home = join(directory, `${at}`);
      await mkdir(home);
      lanes.push(await startLane(`lane${at}`, home, seeded));
    }
    const [one, other] = [lanes[0], lanes[1] ?? lanes[0]];
    if (one === undefined || other === undefined) throw new Error('a drill needs a lane');
    const recordings =
      one === other
        ? [await run(one, forwardRecording, serviceKind), await run(one, backwardRecording, serviceKind)]
        : await allEnded([
            run(one, forwardRecording, serviceKind),
            run(other, backwardRecording, serviceKind),
          ]);
    const failed = recordings.find((ended) => !isGood(ended));
    if (failed !== undefined)
      throw new Error(`${failed.drill.name}: ended ${failed.ended}: ${failed.problems.join('; ')}`);
    const [forward, backward] = recordings;
    // The busy writer is a part of the stand-in.
    const all = allDrills(forward?.points ?? [], backward?.points ?? []).filter(
      ({ name, busy }) => (options.only?.test(name) ?? true) && !(busy && serviceKind === 'litellm'),
    );
    const chosen =
      options.sample === undefined ? all : sample(all, options.sample.count, options.sample.seed);
    return await runAll(lanes, chosen, serviceKind, options.report, ending.signal);
  } finally {
    await Promise.allSettled(lanes.map((lane) => lane.stop()));
    await remove();
  }
}

/** All results, or the first failure, once all have ended: a lane must not be stopped under a run. */
async function allEnded<T>(running: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(running);
  return Promise.all(running);
}

async function runAll(
  lanes: readonly Lane[],
  drills: readonly Drill[],
  serviceKind: ServiceKind,
  report: DrillOptions['report'],
  ending: AbortSignal,
): Promise<Ended[]> {
  // The longest first: a frozen worker is noticed after a minute.
  const isLong = ({ injections }: Drill) => injections.some(({ fault }) => fault.startsWith('zombie'));
  const waiting = [...drills.filter(isLong), ...drills.filter((drilled) => !isLong(drilled))];
  const ends: Ended[] = [];
  const drilling = lanes.map(async (lane) => {
    for (let next = waiting.shift(); next !== undefined && !ending.aborted; next = waiting.shift()) {
      const ended = await run(lane, next, serviceKind).catch((error: unknown) => {
        waiting.length = 0;
        throw error;
      });
      ends.push(ended);
      report(ended, ends.length, drills.length);
    }
  });
  await allEnded(drilling);
  return ends;
}
