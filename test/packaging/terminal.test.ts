import { expect, test } from 'vitest';
import { printable } from '../../src/cli/printable.ts';
import { fit } from '../../src/cli/rendering.ts';

test('what changes on a terminal is one line of it, with its end', () => {
  expect(fit('  Swap 89 values … 1.0 s', 80)).toBe('  Swap 89 values … 1.0 s');
  expect(fit('  Swap 89 values … 1.0 s', 12)).toBe('…es … 1.0 s');
  expect(fit('x'.repeat(100), 80).length).toBeLessThan(80);
});

test('what a terminal would obey is spelled out, wherever it stands; a line feed stays', () => {
  const title = 'Ä → 模型\n  \r\u001B]52;c;aGk=\u0007\t\u0085\u2066';
  expect(printable({ steps: [{ title, endedAt: null, seconds: 1.5 }] })).toEqual({
    steps: [
      {
        title: String.raw`Ä → 模型${'\n'}  \u000d\u001b]52;c;aGk=\u0007\u0009\u0085\u2066`,
        endedAt: null,
        seconds: 1.5,
      },
    ],
  });
});
