import { isGood } from './drill.ts';
import type { Ended } from './run.ts';

/** One line of a run: the point and the fault, how it ended, and what is wrong. */
export function describeRun(ended: Ended): string {
  const { drill, seconds, outageSeconds, problems } = ended;
  const mark = isGood(ended) ? ' ' : '!';
  const times = `${seconds.toFixed(1).padStart(6)} s ${outageSeconds.toFixed(1).padStart(6)} s`;
  return `${mark} ${endOf(ended).padEnd(28)} ${times}  ${drill.name}${problems.map((problem) => `\n    ${problem}`).join('')}`;
}

/** The table: a line for each activity and fault, with how its runs ended and the longest times. */
export function table(ends: readonly Ended[]): string {
  const groups = Map.groupBy(ends, ({ drill }) => {
    const last = drill.injections.at(-1);
    return last === undefined || drill.busy === true
      ? 'writers at work'
      : `${last.point.split('#')[0]?.padEnd(26)} ${last.fault}`;
  });
  const longest = (of: readonly number[]) => Math.max(...of).toFixed(1);
  const lines = [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, runs]) => {
      const counted = Map.groupBy(runs, endOf);
      const ended = [...counted].map(([end, { length }]) => `${length} ${end}`).join(', ');
      const worst = `${longest(runs.map(({ seconds }) => seconds)).padStart(6)} ${longest(runs.map(({ outageSeconds }) => outageSeconds)).padStart(7)}`;
      return `${name.padEnd(42)} ${String(runs.length).padStart(5)} ${worst}  ${ended}`;
    });
  return [
    `${'activity                   fault'.padEnd(42)}  runs longest  outage  ended`,
    ...lines,
    '',
    totals(ends),
  ].join('\n');
}

/** One line with all counts. */
export function totals(ends: readonly Ended[]): string {
  const count = (end: Ended['ended']): number => ends.filter(({ ended }) => ended === end).length;
  const asked = ends.filter(({ askedForPerson }) => askedForPerson).length;
  const bad = ends.filter((ended) => !isGood(ended)).length;
  return (
    `${ends.length} faults: ${count('new')} ended on the new keys, ${count('restored')} restored (${asked} of both after a person's word), ` +
    `${count('lost')} lost, ${count('between')} between two keys, ${count('needs a person')} waiting for a person, ${count('stuck')} stuck, ` +
    `${count('not reached')} not reached; ${bad} not as they must`
  );
}

function endOf({ ended, askedForPerson }: Ended): string {
  return askedForPerson && ended !== 'needs a person' ? `${ended} by a person` : ended;
}
