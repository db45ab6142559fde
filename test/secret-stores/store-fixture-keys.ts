import { failureTypes, RotationError } from '../../src/rotation/failure.ts';
import type { Fence } from '../../src/rotation/fence.ts';
import type { KeyPair } from '../../src/rotation/keys.ts';
import { Secret } from '../../src/rotation/secret.ts';
import type { KeyVariables } from '../../src/secret-stores/env-file/options.ts';

export const names: KeyVariables = {
  master: ['LITELLM_MASTER_KEY', 'LITELLM_SMOKE_TEST_KEY', 'LITELLM_HEALTH_API_KEY', 'LITELLM_PROXY_API_KEY'],
  salt: ['LITELLM_SALT_KEY'],
};

export const previousMaster = `sk-${'A'.repeat(43)}`;
export const pendingMaster = `sk-${'b'.repeat(42)}_`;
export const previousSalt = `sk-${'C'.repeat(43)}`;
export const pendingSalt = `sk-${'d'.repeat(42)}-`;

/** What `prepare` is given to rotate both keys. */
export function newKeys(): KeyPair {
  return { master: new Secret(pendingMaster), salt: new Secret(pendingSalt) };
}

/** Tokens as the lease in the database hands them out: only the newest may write. */
export function createTokens(rotation = 'rotation-1'): { next(): Fence } {
  let newest = 0;
  return {
    next() {
      newest += 1;
      const token = newest;
      return {
        rotation,
        token,
        async assert() {
          if (token < newest)
            throw new RotationError(failureTypes.fencedOut, `token ${token} is older than ${newest}`);
        },
      };
    },
  };
}

/** A fence that nobody contests. */
export function createFence(rotation = 'rotation-1', token = 1): Fence {
  return { rotation, token, assert: async () => {} };
}
