import { createValueCipher } from '../../litellm/cipher.ts';
import type { SealedShape, ValueCipher } from '../../litellm/sealed-value.ts';
import { failureTypes, RotationError } from '../../rotation/failure.ts';
import type { NamedKey } from '../../rotation/keys.ts';
import { createKeyRing } from './key-ring.ts';
import { openLayers } from './layers.ts';

/** Gives a stored text sealed with another key, or undefined when it stays as it is. */
export type Reseal = (text: string) => string | undefined;

/**
 * Seals values that open with one of `from` again with `to`, in their own format, marker and alphabet. A value that is
 * sealed twice keeps its two layers, both under `to`: the inner one would be lost with its key otherwise. Left as they
 * are: texts that no key opens, values under `to`, ids that clients hold (marker `resp_`), and what `openLayers` takes for
 * no layer.
 *
 * Each new text is opened again and compared before it is returned; `CountMismatch` when it differs.
 */
export function createReseal(from: readonly NamedKey[], to: NamedKey): Reseal {
  const others = from.filter(({ key }) => !key.equals(to.key)).map(({ key }) => ({ label: 'other', key }));
  const ring = createKeyRing([...others, { label: 'target', key: to.key }]);
  const target = createValueCipher(to.key);

  return (text) => {
    const layers = openLayers(ring, text);
    if (layers[0]?.opened.marker === 'resp_') return undefined;
    let resealed: string | undefined;
    for (const { label, opened } of layers.toReversed()) {
      if (resealed === undefined && label === 'target') continue;
      resealed = sealChecked(
        target,
        resealed === undefined ? opened.plaintext : Buffer.from(resealed),
        opened,
      );
    }
    return resealed;
  };
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
