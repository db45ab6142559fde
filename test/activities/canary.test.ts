import { expect, test } from 'vitest';
import { canarySeed } from '../../src/activities/canary.ts';
import type { KeyPair } from '../../src/rotation/keys.ts';
import { Secret } from '../../src/rotation/secret.ts';

const pair = (master: string, salt?: string): KeyPair => ({
  master: new Secret(master),
  salt: salt === undefined ? undefined : new Secret(salt),
});

test.for([
  ['both keys', pair('m1', 's1'), pair('m2', 's2'), 'm2'],
  ['the master key', pair('m1', 's1'), pair('m2', 's1'), 'm2'],
  ['the salt key', pair('m1', 's1'), pair('m1', 's2'), 's2'],
  ['the master key, where there is no other', pair('m1'), pair('m2'), 'm2'],
  ['the master key, and a first salt key', pair('m1'), pair('m2', 's2'), 'm2'],
] as const)(
  'where %s is new, what the canary is made of follows from a key that no other rotation has',
  ([, previous, pending, expected]) => {
    expect(canarySeed({ previous, pending }).reveal()).toBe(expected);
  },
);
