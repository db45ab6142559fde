import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { Secret } from '../../src/rotation/secret.ts';

test('a secret shows itself to nobody who only prints it', () => {
  const secret = new Secret('sk-very-secret');
  const printed = [
    String(secret),
    JSON.stringify({ secret }),
    inspect({ secret }, { depth: 9, showHidden: true }),
  ];
  expect(printed.join('\n')).not.toContain('very');
  expect(Object.values(secret)).toEqual([]);
  expect(secret.reveal()).toBe('sk-very-secret');
});

test('a failed assertion about secrets does not print them', () => {
  expect(() => expect(new Secret('sk-a-secret')).toEqual(new Secret('sk-b-secret').reveal())).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining('sk-a-secret') as string }) as Error,
  );
});
