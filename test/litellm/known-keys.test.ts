import { expect, test } from 'vitest';
import { knownKeys } from '../../src/litellm/known-keys.ts';
import { Secret } from '../../src/rotation/secret.ts';

const master = new Secret('sk-master');
const salt = new Secret('sk-salt');

function list(...given: Parameters<typeof knownKeys>): [string, string][] {
  return knownKeys(...given).map(({ label, key }) => [label, key.reveal()]);
}

test('begins with the current keys, then the older ones, then the slips', () => {
  expect(list({ master, salt }, [{ label: 'master key of 2024', key: new Secret('sk-2024') }])).toEqual([
    ['salt key', 'sk-salt'],
    ['master key', 'sk-master'],
    ['master key of 2024', 'sk-2024'],
    ['empty salt key', ''],
    ['salt key with a trailing CR', 'sk-salt\r'],
    ['salt key with a trailing newline', 'sk-salt\n'],
    ['salt key in literal double quotes', '"sk-salt"'],
    ['salt key in literal single quotes', "'sk-salt'"],
    ['master key with a trailing CR', 'sk-master\r'],
    ['master key with a trailing newline', 'sk-master\n'],
    ['master key in literal double quotes', '"sk-master"'],
    ['master key in literal single quotes', "'sk-master'"],
  ]);
});

test('has the master key first when there is no salt key', () => {
  expect(list({ master, salt: undefined })[0]).toEqual(['master key', 'sk-master']);
});

test('names no key twice: the first label stays', () => {
  const keys = list({ master, salt: master }, [
    { label: 'older', key: new Secret('sk-master\r') },
    { label: 'empty', key: new Secret('') },
  ]);
  expect(new Set(keys.map(([, key]) => key)).size).toBe(keys.length);
  expect(keys.map(([label]) => label)).toEqual([
    'salt key',
    'older',
    'empty',
    'salt key with a trailing newline',
    'salt key in literal double quotes',
    'salt key in literal single quotes',
  ]);
});

test('gives no two keys one label, whatever the older ones are called', () => {
  const labels = list({ master, salt }, [
    { label: 'salt key', key: new Secret('sk-older') },
    { label: 'salt key', key: new Secret('sk-oldest') },
    { label: 'empty salt key', key: new Secret('sk-named-like-another') },
  ]).map(([label]) => label);
  expect(labels.slice(0, 6)).toEqual([
    'salt key',
    'master key',
    'salt key (2)',
    'salt key (3)',
    'empty salt key',
    'empty salt key (2)',
  ]);
  expect(new Set(labels).size).toBe(labels.length);
});
