import fc from 'fast-check';
import { expect, test } from 'vitest';
import { blockRanges } from '../../src/reencryption/postgres/block-ranges.ts';

const first = /ctid >= '\((\d+),0\)'/;
const beyond = /ctid < '\((\d+),0\)'/;

test('every block of a relation is in one range, however long each took, and what is appended in the last', () => {
  fc.assert(
    fc.property(
      fc.nat(3_000 * 8192),
      fc.infiniteStream(fc.integer({ min: 0, max: 20_000 })),
      (heapBytes, took) => {
        let clock = 0;
        const now = (): number => (clock += took.next().value as number);
        let next = 0;
        for (const range of blockRanges({ heapBytes }, now)) {
          const from = Number(first.exec(range)?.[1] ?? 0);
          const end = Number(beyond.exec(range)?.[1] ?? Infinity);
          if (from !== next || end <= from) return false;
          next = end;
        }
        return next === Infinity;
      },
    ),
  );
});

test('ranges double while they are fast, and shrink when they are slow', () => {
  const took = [1, 1, 1, 1000, 250, 250];
  const sizes: number[] = [];
  let clock = 0;
  let calls = 0;
  const now = (): number => {
    calls += 1;
    return calls % 2 === 1 ? clock : (clock += took[(calls >> 1) - 1] ?? 1);
  };
  for (const range of blockRanges({ heapBytes: 10_000 * 8192 }, now)) {
    sizes.push(Number(beyond.exec(range)?.[1] ?? 0) - Number(first.exec(range)?.[1] ?? 0));
    if (sizes.length === took.length) break;
  }
  expect(sizes).toEqual([8, 16, 32, 64, 16, 16]);
});
