import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createRate,
  describeDuration,
  describeProgress,
  nextReportMs,
  readProgressReport,
} from '../../src/rotation/step-progress.ts';

describe('progress', () => {
  test.for([
    [
      { done: 412_000, total: 1_000_000, perSecond: 38_000.4 },
      '412,000 of 1,000,000 values, 38,000/s, 16 s left',
    ],
    [{ done: 999, total: null, perSecond: 1234 }, '999 values, 1,234/s'],
    [{ done: 5, total: 10, perSecond: null }, '5 of 10 values'],
    [{ done: 5, total: 10, perSecond: 0 }, '5 of 10 values, 0/s'],
    [{ done: 12, total: 10, perSecond: 3 }, '12 of 12 values, 3/s'],
    [{ done: 0, total: 1_000_000, perSecond: 100 }, '0 of 1,000,000 values, 100/s, 2 h 47 min left'],
    [
      { done: 5, total: 10, perSecond: 1, waitedMs: 61_900 },
      '5 of 10 values, 1/s, 5 s left, waited 61 s as Postgres is busy',
    ],
  ] as const)('%j reads %s', ([progress, text]) => {
    expect(describeProgress({ waitedMs: 0, ...progress })).toBe(text);
  });

  test.for([
    [0.2, '1 s'],
    [90, '90 s'],
    [91, '2 min'],
    [5399, '1 h 30 min'],
  ] as const)('%d seconds read %s', ([seconds, text]) => {
    expect(describeDuration(seconds)).toBe(text);
  });
});

describe('a report from outside', () => {
  test('passes only with a step and a count', () => {
    expect(readProgressReport({ step: 'a', done: 3, total: 5, perSecond: 2, more: 'x' })).toEqual({
      step: 'a',
      done: 3,
      total: 5,
      perSecond: 2,
      waitedMs: 0,
    });
  });

  test('is passed over whatever else it is, and never throws', () => {
    fc.assert(
      fc.property(fc.anything(), (report) => {
        const read = readProgressReport(report);
        if (read !== undefined) expect(describeProgress(read)).toMatch(/^[\d,]+( of [\d,]+)? values/);
      }),
    );
    for (const report of [null, undefined, 3, 'x', {}, { step: 'a', done: '3' }, { step: 'a', done: NaN }])
      expect(readProgressReport(report)).toBeUndefined();
  });
});

describe('the rate', () => {
  test('is that of the last ten seconds: a steady one is told exactly, whatever went before', () => {
    const steps = fc.array(fc.record({ ms: fc.integer({ min: 1, max: 3000 }), slow: fc.boolean() }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 100_000 }), (before, perSecond) => {
        const rate = createRate();
        let [done, atMs] = [700, 5];
        for (const { ms, slow } of before) {
          atMs += ms;
          if (!slow) done += ms;
          rate(done, atMs);
        }
        let told: number | null = null;
        for (let step = 0; step < 130; step += 1) {
          atMs += 100;
          done += perSecond / 10;
          told = rate(done, atMs);
        }
        expect(told).toBeCloseTo(perSecond, 3);
      }),
    );
  });

  test('falls while nothing more is done, as what it would be told to be left by does not come nearer', () => {
    const rate = createRate();
    for (let atMs = 0; atMs <= 20_000; atMs += 250) rate(atMs, atMs);
    const told = [2, 4, 10, 60, 600].map((seconds) => rate(20_000, 20_000 + seconds * 1000) ?? NaN);
    expect(told[0]).toBeLessThan(1000);
    expect(told).toEqual(told.toSorted((a, b) => b - a));
    expect(told[2]).toBeLessThan(50);
    expect(told[4]).toBeLessThan(1);
  });

  test('is not none between two batches that are far apart, as a low throttle makes them', () => {
    const rate = createRate();
    const told: number[] = [];
    for (let atMs = 0; atMs <= 300_000; atMs += 2_000)
      told.push(rate(250 * Math.floor(atMs / 25_000), atMs) ?? NaN);
    const later = told.slice(30);
    expect(Math.min(...later)).toBeGreaterThan(4);
    expect(Math.max(...later)).toBeLessThan(12);
  });

  test('is not told before a second has passed, and what an earlier attempt did is not part of it', () => {
    const rate = createRate();
    expect(rate(500_000, 0)).toBeNull();
    expect(rate(500_100, 900)).toBeNull();
    expect(rate(500_200, 2000)).toBe(100);
  });
});

describe('reports to the workflow', () => {
  const dueWithin = (ms: number) => {
    const due: number[] = [];
    for (let at = nextReportMs(0); at <= ms; at = nextReportMs(at)) due.push(at);
    return due;
  };

  test('are few however long a step takes', () => {
    expect(dueWithin(9_999)).toEqual([]);
    expect(dueWithin(6 * 3_600_000).length).toBeLessThan(70);
    expect(dueWithin(30 * 24 * 3_600_000).length).toBeLessThan(120);
  });

  test('are never older than a tenth of the time so far, or ten seconds', () => {
    const due = dueWithin(6 * 3_600_000);
    for (const [index, at] of due.slice(1).entries())
      expect(at - (due[index] as number)).toBeLessThanOrEqual(Math.max(10_000, at / 10));
  });
});
