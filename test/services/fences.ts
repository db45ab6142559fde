import { RotationError, failureTypes } from '../../src/rotation/failure.ts';
import type { Fence } from '../../src/rotation/fence.ts';

/** The newest attempt's fence, which counts how often it was asked. */
export function newestFence(): Fence & { readonly asked: number } {
  let asked = 0;
  return {
    rotation: 'r-1',
    token: 2,
    get asked() {
      return asked;
    },
    async assert() {
      asked += 1;
    },
  };
}

/** The fence of an attempt that a newer one has overtaken. */
export const staleFence: Fence = {
  rotation: 'r-1',
  token: 1,
  async assert() {
    throw new RotationError(failureTypes.fencedOut, 'token 1 is not the newest');
  },
};

/** A signal that nobody aborts. */
export const never: AbortSignal = new AbortController().signal;
