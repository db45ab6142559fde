import type pg from 'pg';
import { createValueCipher } from '../../litellm/cipher.ts';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { NamedKey } from '../../rotation/keys.ts';
import { journalSchema } from './journal.ts';

const plant = `update ${journalSchema}.rotation set canary = $2 where rotation = $1 and canary is null`;
const read = `select canary from ${journalSchema}.rotation where rotation = $1`;
const plaintext = Buffer.from('litellm-rotate');

/**
 * Refuses to go on with another key than the one that the rotation began to seal with (a lost or replaced slot would
 * leave values under two new keys): the first attempt leaves a text sealed with it, and every later one must open it.
 */
export async function assertSameKey(client: pg.ClientBase, rotation: string, to: NamedKey): Promise<void> {
  const cipher = createValueCipher(to.key);
  await client.query(plant, [
    rotation,
    cipher.seal(plaintext, { format: 'v2', marker: '', alphabet: 'urlsafe' }),
  ]);
  const { rows } = await client.query<{ canary: string | null }>(read, [rotation]);
  const canary = rows[0]?.canary;
  if (canary != null && cipher.open(canary) !== undefined) return;
  throw new RotationError(
    failureTypes.wrongKey,
    `values of rotation ${rotation} were sealed with another ${to.label} than the one given now; expected the one in the rotation's pending slot; restore the slot, or roll back`,
    { facts: { rotation } },
  );
}
