import type { KeyPair, NamedKey } from '../rotation/keys.ts';
import { Secret } from '../rotation/secret.ts';

/**
 * The keys that may have sealed stored values, the most likely first: the current keys, older ones that the user names
 * (`extra`), then what a slip in an environment file makes of the current ones. No key stands in it twice, and no label: a
 * value's key is told by it.
 *
 * LiteLLM seals with the salt key as the environment gave it to the process: an empty one counts as set, and a CR, a
 * newline or quotes that a loader left on the line make another key.
 * Source: LiteLLM 1.110.2, `get_salt_key` in proxy/common_utils/encrypt_decrypt_utils.py.
 */
export function knownKeys({ master, salt }: KeyPair, extra: readonly NamedKey[] = []): NamedKey[] {
  const current: NamedKey[] = [
    ...(salt === undefined ? [] : [{ label: 'salt key', key: salt }]),
    { label: 'master key', key: master },
  ];
  const emptySalt: NamedKey = { label: 'empty salt key', key: new Secret('') };
  return distinct([...current, ...extra, emptySalt, ...current.flatMap(slipsOf)]);
}

function slipsOf({ label, key }: NamedKey): NamedKey[] {
  const value = key.reveal();
  return [
    { label: `${label} with a trailing CR`, key: new Secret(`${value}\r`) },
    { label: `${label} with a trailing newline`, key: new Secret(`${value}\n`) },
    { label: `${label} in literal double quotes`, key: new Secret(`"${value}"`) },
    { label: `${label} in literal single quotes`, key: new Secret(`'${value}'`) },
  ];
}

function distinct(keys: readonly NamedKey[]): NamedKey[] {
  const labels = new Set<string>();
  return keys
    .filter(({ key }, index) => keys.findIndex((other) => other.key.equals(key)) === index)
    .map(({ label, key }) => {
      let unique = label;
      for (let count = 2; labels.has(unique); count += 1) unique = `${label} (${count})`;
      labels.add(unique);
      return { label: unique, key };
    });
}
