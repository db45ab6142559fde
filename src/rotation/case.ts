import { failureTypes, RotationError } from './failure.ts';
import type { KeyName, KeyPair } from './keys.ts';
import type { Secret } from './secret.ts';

/** Which of the four cases of a rotation this is; the plan states it. */
export interface RotationCase {
  /** The keys that are replaced. `salt` also when a first salt key is made. */
  readonly rotate: readonly KeyName[];
  /** Under which key the stored values go from and to, or null when they stay as they are. */
  readonly reencrypt: { readonly from: KeyName; readonly to: KeyName } | null;
  /** For people. */
  readonly sentence: string;
}

/**
 * Decides the case. LiteLLM seals with the salt key if it has one, else with the master key, so replacing whichever
 * seals means re-encrypting. Throws `BadRequest` when only the salt key is asked for and there is none.
 */
export function decideCase(hasSalt: boolean, asked: readonly KeyName[]): RotationCase {
  const master = asked.includes('master');
  const salt = asked.includes('salt');
  if (hasSalt) {
    if (!salt) {
      return {
        rotate: ['master'],
        reencrypt: null,
        sentence: 'replace the master key; stored values stay under the salt key',
      };
    }
    const also = master ? ' and replace the master key' : '';
    return {
      rotate: master ? ['master', 'salt'] : ['salt'],
      reencrypt: { from: 'salt', to: 'salt' },
      sentence: `re-encrypt the stored values from the current salt key to a new one${also}`,
    };
  }
  if (!master) {
    throw new RotationError(
      failureTypes.badRequest,
      'nothing to rotate: the salt key was asked for and the deployment has none (its master key seals the stored values); ask for both keys to give it one',
    );
  }
  if (!salt) {
    return {
      rotate: ['master'],
      reencrypt: { from: 'master', to: 'master' },
      sentence:
        'replace the master key and re-encrypt the stored values under the new one, as there is no salt key',
    };
  }
  return {
    rotate: ['master', 'salt'],
    reencrypt: { from: 'master', to: 'salt' },
    sentence:
      'replace the master key and re-encrypt the stored values under a first salt key, so that later master rotations leave them alone',
  };
}

/** The pending generation: a new key for each that is rotated, the current one for the rest. */
export function nextKeys(
  current: KeyPair,
  { rotate }: RotationCase,
  generate: (name: KeyName) => Secret,
): KeyPair {
  return {
    master: rotate.includes('master') ? generate('master') : current.master,
    salt: rotate.includes('salt') ? generate('salt') : current.salt,
  };
}
