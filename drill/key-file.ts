import { dirname } from 'node:path';
import type { DrilledDeployment } from './deployment.ts';

/** The two keys that stand in a file; empty where there is none. */
export interface Keys {
  readonly master: string;
  readonly salt: string;
}

/** Of each name the last assignment, without quotes: what a shell makes of the files that the drill writes. */
export function keysIn(text: string): Keys {
  const value = (name: string): string =>
    text
      .split('\n')
      .findLast((line) => line.startsWith(`${name}=`))
      ?.slice(name.length + 1)
      .replaceAll(/^["']|["']$/g, '') ?? '';
  return { master: value('LITELLM_MASTER_KEY'), salt: value('LITELLM_SALT_KEY') };
}

/** The directory that holds the slot while a rotation is under way, beside the key file. */
export function slotPath(deployment: DrilledDeployment): string {
  return `${dirname(deployment.keyFile)}/.litellm-rotate/slot.json`;
}
