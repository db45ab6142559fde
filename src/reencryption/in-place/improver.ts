import { createValueCipher } from '../../litellm/cipher.ts';
import type { SealedFormat, SealedMarker, SealedShape } from '../../litellm/sealed-value.ts';
import type { Improvement } from '../port.ts';
import { describeUnopened } from '../values/classify.ts';
import { createKeyRing } from '../values/key-ring.ts';
import { openLayers, valueInside } from '../values/layers.ts';
import { sealChecked } from '../values/reseal.ts';

/** What is to be done with a value, or why nothing is. */
export type Verdict =
  'upgrade' | 'repair' | 'as wanted' | 'sealed twice' | 'under another key' | 'unreadable' | 'id';

/** A sealed value under the question that was asked. */
export interface Judged {
  readonly verdict: Verdict;
  readonly format: SealedFormat;
  readonly marker: SealedMarker;
  /** The labels of the keys that open it, outermost first. */
  readonly layers: readonly string[];
  /** The shape that an upgrade or a repair gives it. */
  readonly becomes: SealedShape;
}

export interface Improver {
  /** Undefined for what is no sealed value. */
  judge(text: string): Judged | undefined;
  /** The text sealed anew, or undefined where it stays. Opened again and compared; `CountMismatch` when it differs. */
  improve(text: string): { readonly text: string; readonly verdict: 'upgrade' | 'repair' } | undefined;
}

const rank: Record<SealedFormat, number> = { legacy: 0, v2: 1, v3: 2 };
/** Nothing but a sealed value begins like this; one without is not told from a long random secret. */
const surelySealed = /^(?:litellm_enc::|v[23]:gcm:)/;

/**
 * An upgrade is for values that have one layer, under the key in force, in a lower format; never downward. A repair is
 * for values that have more layers, all under known keys. Everything else stays byte for byte.
 */
export function createImprover({ sealing, known, upgradeTo, repairSealedTwice }: Improvement): Improver {
  const ring = createKeyRing(known);
  const cipher = createValueCipher(sealing.key);
  const sealingLabel = known.find(({ key }) => key.equals(sealing.key))?.label ?? sealing.label;
  const wanted = (format: SealedFormat): SealedFormat =>
    upgradeTo !== null && rank[format] < rank[upgradeTo] ? upgradeTo : format;

  function open(text: string): (Judged & { readonly plaintext: Uint8Array }) | undefined {
    const opened = openLayers(ring, text);
    const [outermost, innermost] = [opened[0], opened.at(-1)];
    if (outermost === undefined || innermost === undefined) return undefined;
    const { format, marker, alphabet } = outermost.opened;
    const { plaintext } = innermost.opened;
    const whole = !holdsLostValue(plaintext);
    const layers = opened.map(({ label }) => label);
    const becomes = { format: wanted(format), marker, alphabet };
    const verdict = ((): Verdict => {
      if (marker === 'resp_') return 'id';
      if (layers.length > 1 || !whole) return whole && repairSealedTwice ? 'repair' : 'sealed twice';
      if (outermost.label !== sealingLabel) return 'under another key';
      return becomes.format === format ? 'as wanted' : 'upgrade';
    })();
    return { verdict, format, marker, layers, becomes, plaintext };
  }

  return {
    judge(text) {
      const found = open(text);
      if (found !== undefined) {
        const { plaintext: _, ...judged } = found;
        return judged;
      }
      const unopened = describeUnopened(text);
      if (unopened === undefined) return undefined;
      const { format, marker } = unopened;
      return {
        verdict: marker === 'resp_' ? 'id' : 'unreadable',
        format,
        marker,
        layers: [],
        becomes: { format, marker, alphabet: 'urlsafe' },
      };
    },
    improve(text) {
      const found = open(text);
      if (found?.verdict !== 'upgrade' && found?.verdict !== 'repair') return undefined;
      return { text: sealChecked(cipher, found.plaintext, found.becomes), verdict: found.verdict };
    },
  };
}

/** Whether a further layer is inside, which no known key opens. */
function holdsLostValue(plaintext: Buffer): boolean {
  const text = valueInside(plaintext);
  return text !== undefined && surelySealed.test(text);
}
