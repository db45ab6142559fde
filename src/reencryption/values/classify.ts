import { looksSealed } from '../../litellm/cipher.ts';
import type { SealedFormat, SealedMarker } from '../../litellm/sealed-value.ts';
import type { NamedKey } from '../../rotation/keys.ts';
import { createKeyRing } from './key-ring.ts';
import { openLayers } from './layers.ts';
import { decodeUtf8 } from './utf8.ts';

/** What a stored string is. */
export interface Classified {
  readonly format: SealedFormat;
  readonly marker: SealedMarker;
  /** The labels of the keys that open it, outermost first; none: it looks sealed and no key opens it. */
  readonly layers: readonly string[];
}

/** Says what a string is under the keys given, or undefined when it is not a sealed value. */
export function createClassifier(keys: readonly NamedKey[]): (text: string) => Classified | undefined {
  const ring = createKeyRing(keys);
  return (text) => {
    const layers = openLayers(ring, text);
    const [outermost] = layers;
    if (outermost === undefined) return describeUnopened(text);
    const { format, marker } = outermost.opened;
    return { format, marker, layers: layers.map(({ label }) => label) };
  };
}

/** What a text that no key opens is taken for: an unreadable value, or, undefined, no sealed value at all. */
export function describeUnopened(text: string): Classified | undefined {
  return isRatherSealed(text) ? { ...shapeOf(text), layers: [] } : undefined;
}

/**
 * Whether a text that no key opens is worth a line. `looksSealed` is true for what merely could be decoded, so a value
 * without prefix or marker must be padded base64 from end to end, not a digest in hex, and must not decode to text.
 */
function isRatherSealed(text: string): boolean {
  if (!looksSealed(text)) return false;
  const { marker, format } = shapeOf(text);
  if (marker === 'litellm_enc::' || format !== 'legacy') return true;
  const body = text.slice(marker.length);
  if (body.length < 56 || body.length % 4 !== 0) return false;
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(body) || /^[0-9a-f]+$/i.test(body)) return false;
  return decodeUtf8(Buffer.from(body, 'base64')) === undefined;
}

/** The shape of a value that no key opens, by its prefix alone. */
function shapeOf(text: string): Pick<Classified, 'format' | 'marker'> {
  const marker = (['litellm_enc::', 'resp_'] as const).find((prefix) => text.startsWith(prefix)) ?? '';
  const body = text.slice(marker.length);
  const format = (['v2', 'v3'] as const).find((version) => body.startsWith(`${version}:gcm:`)) ?? 'legacy';
  return { format, marker };
}
