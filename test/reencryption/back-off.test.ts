import fc from 'fast-check';
import { setTimeout } from 'node:timers/promises';
import { Client } from 'pg';
import { beforeEach, describe, expect, test } from 'vitest';
import { createBackOff, longestWaitMs } from '../../src/reencryption/pacing/back-off.ts';
import { begin, fillModels, never, masterKey, silent, transition } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const ms = (max: number) => fc.double({ min: 0, max, noNaN: true });
const samples = fc.array(fc.record({ latencyMs: ms(5_000), others: fc.nat(50) }), { maxLength: 200 });

/** Told of the same latency so many times, with nobody else at work. */
function calm(latencyMs: number, times: number) {
  const backOff = createBackOff();
  for (let at = 0; at < times; at += 1) backOff.observe({ latencyMs, others: 0 });
  return backOff;
}

describe('the wait between two batches', () => {
  test('is never more than its bound, and never less than nothing', () => {
    fc.assert(
      fc.property(samples, ms(1e6), (seen, busyMs) => {
        const backOff = createBackOff();
        for (const sample of seen) {
          backOff.observe(sample);
          const wait = backOff.waitAfter(busyMs);
          expect(wait).toBeGreaterThanOrEqual(0);
          expect(wait).toBeLessThanOrEqual(longestWaitMs);
        }
      }),
    );
  });

  test('is none while nobody else is at work and the latency stays within twice its lowest, however high that is', () => {
    const flat = ms(1_000).chain((lowest) =>
      fc.array(fc.double({ min: lowest, max: lowest * 1.8, noNaN: true }), { minLength: 1, maxLength: 300 }),
    );
    fc.assert(
      fc.property(flat, ms(1e6), (latencies, busyMs) => {
        const backOff = createBackOff();
        for (const latencyMs of latencies) {
          backOff.observe({ latencyMs, others: 0 });
          expect(backOff.waitAfter(busyMs)).toBe(0);
        }
      }),
    );
  });

  test('is none for one slow answer, or two', () => {
    const backOff = calm(2, 20);
    for (let at = 0; at < 2; at += 1) {
      backOff.observe({ latencyMs: 5_000, others: 0 });
      expect(backOff.waitAfter(100)).toBe(0);
    }
    backOff.observe({ latencyMs: 5_000, others: 0 });
    expect(backOff.waitAfter(100)).toBe(longestWaitMs);
  });

  test('grows with the latency and with the work', () => {
    const waitAt = (latencyMs: number, busyMs: number) => {
      const backOff = calm(2, 100);
      for (let at = 0; at < 5; at += 1) backOff.observe({ latencyMs, others: 0 });
      return backOff.waitAfter(busyMs);
    };
    expect(waitAt(6.5, 10)).toBeGreaterThan(5);
    expect(waitAt(6.5, 10)).toBeLessThan(15);
    fc.assert(
      fc.property(ms(500), ms(500), ms(1_000), (latency, more, busyMs) => {
        expect(waitAt(latency + more, busyMs)).toBeGreaterThanOrEqual(waitAt(latency, busyMs));
        expect(waitAt(latency, busyMs + more)).toBeGreaterThanOrEqual(waitAt(latency, busyMs));
      }),
    );
  });

  test('is nine times the work while anybody else was at work at one of the last forty looks', () => {
    const backOff = calm(1, 50);
    backOff.observe({ latencyMs: 1, others: 1 });
    for (let at = 0; at < 39; at += 1) {
      expect(backOff.waitAfter(10)).toBe(90);
      backOff.observe({ latencyMs: 1, others: 0 });
    }
    expect(backOff.waitAfter(10)).toBe(90);
    backOff.observe({ latencyMs: 1, others: 0 });
    expect(backOff.waitAfter(10)).toBe(0);
  });

  test('is over when the load is, whatever it was: three answers later for its slowness, forty for who was at work', () => {
    const load = fc.record({ latencyMs: fc.double({ min: 2, max: 60_000, noNaN: true }), others: fc.nat(9) });
    fc.assert(
      fc.property(fc.array(load, { maxLength: 100 }), (seen) => {
        const backOff = calm(2, 20);
        for (const sample of seen) backOff.observe(sample);
        for (let at = 0; at < 3; at += 1) backOff.observe({ latencyMs: 2, others: 0 });
        expect(backOff.waitAfter(10)).toBeLessThanOrEqual(90);
        for (let at = 0; at < 37; at += 1) backOff.observe({ latencyMs: 2, others: 0 });
        expect(backOff.waitAfter(10)).toBe(0);
      }),
    );
  });

  test('ends under a slowness that stays: what was nine times as long becomes what is normal', () => {
    const backOff = calm(2, 10);
    let waits = 0;
    for (let at = 0; at < 100; at += 1) {
      backOff.observe({ latencyMs: 50, others: 0 });
      if (backOff.waitAfter(10) > 0) waits += 1;
    }
    expect(waits).toBeGreaterThan(80);
    expect(backOff.waitAfter(10)).toBe(0);
  });
});

describe('stage beside a busy Postgres', () => {
  const lab = useTestDatabase();
  beforeEach(async () => {
    await fillModels(lab.client, 12_000);
  });

  /** A session that makes every statement on the lease's row wait 60 ms, until it is told to end. */
  async function load(): Promise<{ end(): Promise<void> }> {
    const client = new Client({ connectionString: lab.url });
    await client.connect();
    let ended = false;
    const held = (async () => {
      while (!ended) {
        await client.query('begin; select 1 from litellm_rotate.lease for update');
        await setTimeout(60);
        await client.query('commit');
        await setTimeout(1);
      }
      await client.end();
    })();
    return {
      end: () => {
        ended = true;
        return held;
      },
    };
  }

  test('waits between its batches, stops waiting when it is calm again, and stages every value', async () => {
    // Batches enough for all of it.
    const database = lab.rotationDatabase({ batchSize: 25 });
    const fence = await begin(database);
    const waits: number[] = [];
    let busy: Promise<{ end(): Promise<void> }> | undefined;
    let calm: Promise<void> | undefined;
    let atCalm = 0;
    const staged = await database.stage(
      transition,
      fence,
      ({ waitedMs = 0 }) => {
        waits.push(waitedMs);
        busy ??= load();
        if (waitedMs === 0 || calm !== undefined) return;
        calm = busy.then((session) => session.end()).then(() => void (atCalm = waits.length));
      },
      never,
    );
    await calm;
    expect(staged).toEqual({ values: 12_143, rows: 12_057 });
    expect(Math.max(...waits)).toBeGreaterThan(0);
    const afterwards = waits.slice(atCalm);
    expect(afterwards.some((waited, at) => at > 0 && waited === afterwards[at - 1])).toBe(true);
    expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({ values: 12_143 });
  });

  test('waits while others are at work, though they hold nothing that it needs', async () => {
    const database = lab.rotationDatabase();
    const fence = await begin(database);
    await lab.client.query('begin; select 1');
    const waits: number[] = [];
    await database.stage(
      transition,
      fence,
      ({ waitedMs = 0 }) => {
        waits.push(waitedMs);
        if (waits.length === 5) void lab.client.query('commit');
      },
      never,
    );
    expect(waits.slice(1, 5).every((waited, at) => waited > (waits[at] as number))).toBe(true);
  });

  test('does not wait when it is switched off', async () => {
    const database = lab.rotationDatabase({ backOff: false });
    const fence = await begin(database);
    const session = await load();
    const waits: number[] = [];
    await database.stage(transition, fence, ({ waitedMs = 0 }) => void waits.push(waitedMs), never);
    await session.end();
    expect(Math.max(...waits)).toBe(0);
  });

  test('ends at once when it is aborted while it waits', async () => {
    const database = lab.rotationDatabase();
    const fence = await begin(database);
    const controller = new AbortController();
    const session = await load();
    let waited = 0;
    await expect(
      database.stage(
        transition,
        fence,
        ({ waitedMs = 0 }) => {
          waited = waitedMs;
          if (waitedMs > 0) controller.abort();
        },
        controller.signal,
      ),
    ).rejects.toThrow();
    await session.end();
    expect(waited).toBeGreaterThan(0);
    expect((await database.observe('r-1')).staged).toBeLessThan(12_057);
    expect(await database.stage(transition, fence, silent, never)).toEqual({ values: 12_143, rows: 12_057 });
  });
});
