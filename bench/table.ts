import type { Beside } from './beside-traffic.ts';
import type { Series } from './measurement.ts';
import { shortCount } from './options.ts';
import type { Search } from './search.ts';
import type { Run } from './sides.ts';
import { ratiosOf, spreadOf, type Spread } from './statistics.ts';

const rate = ({ values, seconds }: Run): number => values / seconds;
const cpu = ({ clientCpuSeconds, serverCpuSeconds }: Run): number => clientCpuSeconds + serverCpuSeconds;

/** The measured series as Markdown tables: medians, with the least and the most in brackets. */
export function renderTables(series: readonly Series[]): string {
  return [
    'Ours / peer, pair by pair',
    '',
    table(
      ['values', 'round trip', 'values/s: peer', 'ours', 'ratio', 'CPU s: peer', 'ours', 'peer / ours'],
      series.map((one) => {
        const { peer, ours } = one;
        const own = [shortCount(round(one.values)), trip(one)];
        const ourRate = whole(spreadOf(ours.map(rate)));
        const ourCpu = show(spreadOf(ours.map(cpu)), 2);
        if (peer.length === 0) return [...own, '-', ourRate, '-', '-', ourCpu, '-'];
        return [
          ...own,
          whole(spreadOf(peer.map(rate))),
          ourRate,
          `**${show(ratiosOf(ours.map(rate), peer.map(rate)), 1)}**`,
          show(spreadOf(peer.map(cpu)), 2),
          ourCpu,
          `**${show(ratiosOf(peer.map(cpu), ours.map(cpu)), 1)}**`,
        ];
      }),
    ),
    '',
    'The outage, and memory',
    '',
    table(
      [
        'values',
        'round trip',
        'stage s',
        'cutover s',
        '10 % changed, caught up: s',
        'not caught up: s',
        'late values',
        'MiB added: peer',
        'ours',
      ],
      series.map((one) => [
        shortCount(round(one.values)),
        trip(one),
        show(spreadOf(one.ours.map(({ seconds, cutoverSeconds }) => seconds - cutoverSeconds)), 2),
        `**${show(spreadOf(one.ours.map(({ cutoverSeconds }) => cutoverSeconds)), 3)}**`,
        cutovers(one.caughtUp),
        cutovers(one.changed),
        `${one.changed[0]?.lateValues ?? '-'}`,
        one.peer.length === 0 ? '-' : show(spreadOf(one.peer.map(({ addedMiB }) => addedMiB)), 0),
        show(spreadOf(one.ours.map(({ addedMiB }) => addedMiB)), 0),
      ]),
    ),
    ...renderTraffic(series),
  ].join('\n');
}

export const renderSearch = ({ rows, seconds }: Search): string =>
  `${shortCount(rows)} rows that hold no sealed value are searched in ${show(spreadOf(seconds), 2)} s`;

function renderTraffic(series: readonly Series[]): string[] {
  const rows = series.flatMap(({ values, traffic }) => {
    if (traffic === undefined) return [];
    const row = (beside: string, runs: readonly Beside[]): string[] => {
      const spread = (of: (one: Beside) => number): Spread => spreadOf(runs.map(of));
      return [
        shortCount(round(values)),
        beside,
        show(
          spread(({ seconds }) => seconds),
          1,
        ),
        show(
          spread(({ alone }) => alone.readMedian),
          2,
        ),
        `**${percent(spread(({ alone, during }) => during.readMedian / alone.readMedian - 1))}**`,
        show(
          spread(({ alone }) => alone.writeMedian),
          2,
        ),
        `**${percent(spread(({ alone, during }) => during.writeMedian / alone.writeMedian - 1))}**`,
        show(
          spread(({ during }) => during.write99),
          1,
        ),
        show(
          spread(({ during }) => during.max),
          0,
        ),
      ];
    };
    const peer = traffic.peer.length === 0 ? [] : [row('peer', traffic.peer)];
    return [row('nothing', traffic.nothing), row('stage', traffic.stage), ...peer];
  });
  if (rows.length === 0) return [];
  const head = [
    'values',
    'beside',
    'took s',
    'read ms: alone',
    'longer by',
    'write ms: alone',
    'longer by',
    'write 99 %',
    'max',
  ];
  return [
    '',
    "LiteLLM's own queries: medians alone, and by how much they are longer beside it",
    '',
    table(head, rows),
  ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const trip = ({ latencyMs, roundTripMs }: Series): string =>
  latencyMs === 0 ? 'loopback' : `${roundTripMs.toFixed(1)} ms`;
/** A generator that is asked for 10,000 values stops at the row that passes it. */
const round = (values: number): number => Number(values.toPrecision(2));
const cutovers = (runs: readonly Run[]): string =>
  runs.length === 0 ? '-' : show(spreadOf(runs.map(({ cutoverSeconds }) => cutoverSeconds)), 3);
const show = ({ median, min, max }: Spread, digits: number): string =>
  `${median.toFixed(digits)} [${min.toFixed(digits)}..${max.toFixed(digits)}]`;
const whole = (spread: Spread): string => show(spread, 0);
const percent = ({ median, min, max }: Spread): string =>
  `${(median * 100).toFixed(0)} % [${(min * 100).toFixed(0)}..${(max * 100).toFixed(0)}]`;
