import { readFile } from 'node:fs/promises';
import type { BenchDocument } from './bench.ts';
import type { Series } from './measurement.ts';
import { shortCount } from './options.ts';
import { ratiosOf, spreadOf } from './statistics.ts';

/*
 * `node bench/plot.ts FILE.json ... > plot.svg`: a picture of what `npm run bench -- --json FILE.json` has measured. Every
 * series is drawn to a scale of its own, as a million values take a thousand times as long as a thousand. Of two that were
 * measured alike, the first is drawn.
 */

const width = 910;
const left = 150;
const full = 440;
const line = 20;
const block = 2 * line + 12;

const median = (samples: readonly number[]): number => spreadOf(samples).median;
const time = (seconds: number): string => `${seconds.toPrecision(seconds < 1 ? 2 : 3)} s`;

function drawSeries(series: Series, commit: string | undefined, top: number): string {
  const { peer, ours, latencyMs, values } = series;
  const peerSeconds = median(peer.map(({ seconds }) => seconds));
  const seconds = median(ours.map((run) => run.seconds));
  const cutover = median(ours.map(({ cutoverSeconds }) => cutoverSeconds));
  const ratio = ratiosOf(
    peer.map((run) => run.seconds),
    ours.map((run) => run.seconds),
  ).median;
  const size = shortCount(Number(values.toPrecision(2)));
  const notes = [
    ...(latencyMs > 0 ? [`${latencyMs} ms away`] : []),
    ...(commit === undefined ? [] : [commit]),
  ];
  const longest = Math.max(peerSeconds, seconds);
  const scale = (part: number): string => ((part / longest) * full).toFixed(1);
  const bar = (row: number, from: number, part: number, color: string): string =>
    `<rect x="${(left + (from / longest) * full).toFixed(1)}" y="${top + row * line + 3}" width="${scale(part)}" height="${line - 6}" fill="${color}"/>`;
  const label = (row: number, at: number, text: string): string =>
    `<text x="${(left + (at / longest) * full + 6).toFixed(1)}" y="${top + row * line + 14}">${text}</text>`;
  const stage = seconds - cutover;
  return [
    `<text x="8" y="${top + 14}" font-weight="bold">${size} values</text>`,
    `<text x="8" y="${top + line + 14}" fill="#666">${notes.join(', ')}</text>`,
    bar(0, 0, peerSeconds, '#b0b7c3'),
    label(0, peerSeconds, time(peerSeconds)),
    bar(1, 0, stage, '#7cb5e8'),
    bar(1, stage, cutover, '#d9534f'),
    label(
      1,
      seconds,
      `${time(seconds)}, of which stopped ${time(cutover)}: ${ratio.toFixed(1)} times as fast`,
    ),
  ].join('\n');
}

const documents = await Promise.all(
  process.argv.slice(2).map(async (file) => JSON.parse(await readFile(file, 'utf8')) as BenchDocument),
);
const drawn = documents
  .flatMap(({ series, options, commitMs }) => {
    const delayed = options.commitDelay > 0 ? `${commitMs.toPrecision(2)} ms a commit` : undefined;
    const commit = options.synchronousCommit === 'off' ? 'asynchronous commit' : delayed;
    return series.filter(({ peer }) => peer.length > 0).map((one) => ({ one, commit }));
  })
  .filter(({ one, commit }, at, all) => {
    const same = (other: { readonly one: Series; readonly commit: string | undefined }): boolean =>
      other.one.values === one.values && other.one.latencyMs === one.latencyMs && other.commit === commit;
    return all.findIndex(same) === at;
  });
if (drawn.length === 0) {
  console.error(
    'bench/plot.ts: error: no series with a peer; expected files that "npm run bench -- --json FILE" has written',
  );
  process.exit(2);
}
const legend = [
  ['#b0b7c3', "LiteLLM's own re-encryption"],
  ['#7cb5e8', 'stage: LiteLLM serves'],
  ['#d9534f', 'swap: LiteLLM is stopped'],
] as const;
const height = 40 + drawn.length * block;
console.log(
  [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...legend.map(
      ([color, text], at) =>
        `<rect x="${8 + at * 245}" y="10" width="12" height="12" fill="${color}"/><text x="${25 + at * 245}" y="20">${text}</text>`,
    ),
    ...drawn.map(({ one, commit }, at) => drawSeries(one, commit, 40 + at * block)),
    '</svg>',
  ].join('\n'),
);
