import { expect, test } from 'vitest';
import { fit } from '../../src/cli/rendering.ts';

test('what changes on a terminal is one line of it, with its end', () => {
  expect(fit('  Swap 89 values … 1.0 s', 80)).toBe('  Swap 89 values … 1.0 s');
  expect(fit('  Swap 89 values … 1.0 s', 12)).toBe('…es … 1.0 s');
  expect(fit('x'.repeat(100), 80).length).toBeLessThan(80);
});
