import { sealedCandidateMinLength } from '../../litellm/candidate.ts';
import { createValueCipher } from '../../litellm/cipher.ts';
import type { SealedShape, ValueCipher } from '../../litellm/sealed-value.ts';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { NamedKey } from '../../rotation/keys.ts';
import { createKeyRing } from './key-ring.ts';
import { decodeUtf8 } from './utf8.ts';

/** Gives a stored text sealed with another key, or undefined when it stays as it is. */
export type Reseal = (text: string) => string | undefined;

/** LiteLLM leaves two layers after a naive change of the salt key; more need more mistakes. */
const deepestLayer = 8;

const foreign = /[^\w+/=:-]/;

/**
 * Seals values that open with one of `from` again with `to`, in their own format, marker and alphabet. A value that is
 * sealed twice keeps its two layers, both under `to`: the inner one would be lost with its key otherwise. Left as they
 * are: texts that no key opens, values under `to`, and ids that clients hold (marker `resp_`).
 *
 * Each new text is opened again and compared before it is returned; `CountMismatch` when it differs.
 */
export function createReseal(from: readonly NamedKey[], to: NamedKey): Reseal {
  const others = from.filter(({ key }) => !key.equals(to.key)).map(({ key }) => ({ label: 'other', key }));
  const ring = createKeyRing([...others, { label: 'target', key: to.key }]);
  const target = createValueCipher(to.key);

  function reseal(text: string, layer: number): string | undefined {
    if (text.length < sealedCandidateMinLength) return undefined;
    const hit = ring.open(text);
    if (hit === undefined || hit.opened.marker === 'resp_') return undefined;
    const inner = layer < deepestLayer ? resealInside(hit.opened.plaintext, layer) : undefined;
    if (inner === undefined && hit.label === 'target') return undefined;
    const plaintext = inner ?? hit.opened.plaintext;
    return sealChecked(target, plaintext, hit.opened);
  }

  function resealInside(plaintext: Buffer, layer: number): Buffer | undefined {
    if (plaintext.length < sealedCandidateMinLength) return undefined;
    const text = decodeUtf8(plaintext);
    // What LiteLLM would have sealed twice is a text that it has written: nothing but digits, padding and prefixes.
    const inner = text === undefined || foreign.test(text) ? undefined : reseal(text, layer + 1);
    return inner === undefined ? undefined : Buffer.from(inner);
  }

  return (text) => reseal(text, 0);
}

/** Seals a value, and opens it again before it is returned; `CountMismatch` when it differs. */
export function sealChecked(cipher: ValueCipher, plaintext: Uint8Array, shape: SealedShape): string {
  const sealed = cipher.seal(plaintext, shape);
  const check = cipher.open(sealed);
  if (check !== undefined && Buffer.compare(check.plaintext, plaintext) === 0) return sealed;
  throw new RotationError(
    failureTypes.countMismatch,
    'a value sealed with the new key did not open to the same plaintext; nothing was written; report this as a bug',
  );
}
