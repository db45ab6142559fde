import { execa } from 'execa';
import { expect, test } from 'vitest';
import { parseOptions, shortCount } from '../../bench/options.ts';
import { startNode } from '../../bench/node.ts';
import { quantile, ratiosOf, spreadOf } from '../../bench/statistics.ts';
import { startPostgres, withClient } from '../../lab/postgres.ts';

test('a spread is the median, the least and the most, of odd and even numbers of samples', () => {
  expect(spreadOf([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
  expect(spreadOf([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 });
  expect(() => spreadOf([])).toThrow('no samples');
});

test('ratios are taken pair by pair, so a machine that slows down for both leaves them alone', () => {
  expect(ratiosOf([10, 20, 40], [5, 10, 20])).toEqual({ median: 2, min: 2, max: 2 });
});

test('a quantile is a sample that was taken', () => {
  expect(quantile([5, 1, 4, 2, 3], 0.5)).toBe(3);
  expect(quantile([5, 1, 4, 2, 3], 1)).toBe(5);
});

test('sizes are written as people write them, and a wrong option is named', () => {
  expect(parseOptions(['--values', '500,10k,1m', '--latency', '2'])).toMatchObject({
    values: [500, 10_000, 1_000_000],
    latencies: [0, 2],
  });
  expect([500, 10_000, 1_000_000].map(shortCount)).toEqual(['500', '10k', '1m']);
  expect(() => parseOptions(['--values', 'many'])).toThrow('--values has many');
  expect(() => parseOptions(['--synchronous-commit', 'maybe'])).toThrow('expected on or off');
  expect(() => parseOptions(['--commit-delay', '1s'])).toThrow('--commit-delay is 1s, expected milliseconds');
});

test('a wrong option ends the benchmark with its usage before anything is started', async () => {
  const { exitCode, stderr } = await execa(process.execPath, ['bench/bench.ts', '--values', '0'], {
    reject: false,
  });
  expect(exitCode).toBe(2);
  expect(stderr).toContain('npm run bench');
});

test('the relay makes each answer late, and changes nothing in it', async () => {
  const postgres = await startPostgres();
  const relay = startNode('relay', [`${postgres.port}`, '20']);
  const url = new URL(postgres.adminUrl);
  url.port = await relay.firstLine();
  await withClient(url.href, async (client) => {
    const since = performance.now();
    const { rows } = await client.query<{ long: string }>(`select repeat('ä', 400000) as long`);
    expect(performance.now() - since).toBeGreaterThanOrEqual(19.5);
    expect(rows[0]?.long).toBe('ä'.repeat(400_000));
  });
  await relay.finish();
  await postgres.stop();
});
