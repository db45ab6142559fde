import { expect, test } from 'vitest';
import { countPolling } from '../../src/cli/doctor.ts';

test('a worker that has ended is not counted, though Temporal still lists it', () => {
  const polled = (secondsAgo: number, now = Date.now()) => ({
    lastAccessTime: { seconds: Math.floor(now / 1000) - secondsAgo },
  });
  expect(countPolling([polled(200), polled(60), polled(0)])).toBe(2);
  expect(countPolling([polled(200), {}])).toBe(0);
});
