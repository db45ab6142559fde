import type { KeyPair } from '../../rotation/keys.ts';
import { Secret } from '../../rotation/secret.ts';

/** The values of one generation, revealed. */
export interface KeyValues {
  readonly master: string;
  readonly salt?: string;
}

export function valuesOf(master: string, salt: string | undefined): KeyValues {
  return { master, ...(salt === undefined ? {} : { salt }) };
}

export function pairOf({ master, salt }: KeyValues): KeyPair {
  return { master: new Secret(master), salt: salt === undefined ? undefined : new Secret(salt) };
}
