import { describe, expect, test } from 'vitest';
import { decideCase, nextKeys } from '../../src/rotation/case.ts';
import { Secret } from '../../src/rotation/secret.ts';

describe('the case of a rotation', () => {
  test.for([
    ['a salt key, master asked', true, ['master'], ['master'], null],
    ['a salt key, salt asked', true, ['salt'], ['salt'], { from: 'salt', to: 'salt' }],
    ['a salt key, both asked', true, ['master', 'salt'], ['master', 'salt'], { from: 'salt', to: 'salt' }],
    ['no salt key, master asked', false, ['master'], ['master'], { from: 'master', to: 'master' }],
    [
      'no salt key, both asked',
      false,
      ['master', 'salt'],
      ['master', 'salt'],
      { from: 'master', to: 'salt' },
    ],
  ] as const)('%s', ([, hasSalt, asked, rotate, reencrypt]) => {
    expect(decideCase(hasSalt, asked)).toMatchObject({ rotate, reencrypt });
  });

  test('refuses the salt key alone where there is none, and says what to ask for', () => {
    expect(() => decideCase(false, ['salt'])).toThrow(/nothing to rotate: .*ask for both keys/);
  });

  test('keeps the key that is not rotated, and makes a first salt key beside the master key that sealed', () => {
    const current = { master: new Secret('sk-m'), salt: undefined };
    let made = 0;
    const generate = (name: string) => new Secret(`sk-${name}-${(made += 1)}`);
    const first = nextKeys(current, decideCase(false, ['master', 'salt']), generate);
    expect([first.master.reveal(), first.salt?.reveal()]).toEqual(['sk-master-1', 'sk-salt-2']);
    const salted = { master: new Secret('sk-m'), salt: new Secret('sk-s') };
    const second = nextKeys(salted, decideCase(true, ['salt']), generate);
    expect([second.master, second.salt?.reveal()]).toEqual([salted.master, 'sk-salt-3']);
  });
});
