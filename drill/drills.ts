import type { Fault, Injection, Passed } from './injection.ts';
import type { Drill } from './run.ts';

/** Late, with everything there is to undo. */
export const turningPoint: Injection = { point: 'watchServiceLog#1:end', fault: 'fail' };

/** The two runs in which nothing more happens: their records name every point. */
export const forwardRecording: Drill = { name: 'nothing happens', injections: [] };
export const backwardRecording: Drill = { name: 'a rollback', injections: [turningPoint] };

/** From these on there is no way back: what fails is finished by a person's `resume`. */
const afterThePivot = /^(destroyPreviousKeys|releaseLease)#/;
/** Where a frozen worker can do harm: in front of what it writes itself. What it starts is beyond any token. */
const ownWrite = /:(file|sql):\d+$/;
const edge = /:(start|end)$/;

/** Every point of the two recordings with every fault. */
export function allDrills(forward: readonly Passed[], backward: readonly Passed[]): Drill[] {
  const drills: Drill[] = [];
  const add = (point: string, fault: Fault): void => {
    const isUndo = point.startsWith('undo ');
    const injections = isUndo ? [turningPoint, { point, fault }] : [{ point, fault }];
    const person = fault !== 'fail' ? undefined : afterThePivot.test(point) ? 'resume' : 'rollback';
    drills.push({
      name: `${point} ${fault}`,
      injections,
      ...((isUndo || afterThePivot.test(point)) && person !== undefined ? { person } : {}),
    });
  };
  const undo = namesOf(backward).filter((point) => point.startsWith('undo '));
  for (const [at, point] of [...namesOf(forward), ...undo].entries()) {
    for (const fault of ['kill', 'postgres', 'temporal', 'fail'] as const) add(point, fault);
    if (ownWrite.test(point)) add(point, at % 2 === 0 ? 'zombie beside' : 'zombie late');
  }
  for (const point of namesOf(forward).filter((name) => edge.test(name))) {
    for (const fault of ['cancel', 'terminate'] as const) add(point, fault);
    // At the very end, it may rightly follow the first one.
    if (!afterThePivot.test(point)) add(point, 'second');
  }
  for (const point of undo.filter((name) => edge.test(name))) add(point, 'terminate');
  return [...drills, ...busyDrills];
}

/** With users at work: what is written before, during and after is neither lost nor left behind. */
const busyDrills: readonly Drill[] = [
  { name: 'writers at work', busy: true, injections: [] },
  { name: 'writers at work, then a rollback', busy: true, injections: [turningPoint] },
  ...['stageValues#1:sql:9', 'stageValues#1:end', 'swapValues#1:sql:20', 'startService#1:end'].map(
    (point) => ({
      name: `writers at work, ${point} kill`,
      busy: true,
      injections: [{ point, fault: 'kill' as const }],
    }),
  ),
];

/** How a drill may end. More than one answer, where going forward and going back are both right. */
export function expected({ injections }: Drill): readonly ('new' | 'restored')[] {
  const { point, fault } = injections.at(-1) ?? { point: '', fault: undefined };
  // Terminated before anything was undone, what is wholly on the new keys and serves is led forward.
  if (injections.length > 1) return fault === 'terminate' ? ['new', 'restored'] : ['restored'];
  if (fault === undefined) return ['new'];
  if (fault === 'fail') return afterThePivot.test(point) ? ['new'] : ['restored'];
  if (fault === 'second') return ['new'];
  return ['new', 'restored'];
}

function namesOf(record: readonly Passed[]): string[] {
  return [...new Set(record.map(({ point }) => point))];
}

/** `count` of the drills, by a seed: the same ones whenever the points are the same. */
export function sample(drills: readonly Drill[], count: number, seed: number): Drill[] {
  const random = mulberry32(seed);
  return drills
    .map((drill) => ({ drill, order: random() }))
    .sort((a, b) => a.order - b.order)
    .slice(0, count)
    .map(({ drill }) => drill);
}

/** A small generator of numbers in [0, 1) by Tommy Ettinger, in the public domain. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
