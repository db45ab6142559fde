import { sealedCandidateMinLength } from '../../litellm/candidate.ts';
import type { KeyRing, RingHit } from './key-ring.ts';
import { decodeUtf8 } from './utf8.ts';

/** A whole value as LiteLLM writes it. It would open more: base64 digits with other characters between them. */
const asWritten = /^(?:litellm_enc::)?(?:v[23]:gcm:)?[A-Za-z0-9+/_-]+={0,2}$/;

/**
 * The layers of a sealed value, outermost first; none when no key opens it. What is inside a layer is a further one when
 * LiteLLM can have sealed its own value once more: a value as it writes it, from end to end, and no id of a client's
 * (`resp_`). Ciphertext with anything around it is a text that somebody gave to LiteLLM: it is carried over as it is, and
 * what is in it ends with its key.
 */
export function openLayers(ring: KeyRing, text: string): readonly RingHit[] {
  const layers: RingHit[] = [];
  let hit = text.length < sealedCandidateMinLength ? undefined : ring.open(text);
  while (hit !== undefined) {
    layers.push(hit);
    hit = openInside(ring, hit.opened.plaintext);
  }
  return layers;
}

/** What is inside a layer, where it is a whole value as LiteLLM writes it. */
export function valueInside(plaintext: Buffer): string | undefined {
  const text = plaintext.length < sealedCandidateMinLength ? undefined : decodeUtf8(plaintext);
  return text !== undefined && asWritten.test(text) ? text : undefined;
}

function openInside(ring: KeyRing, plaintext: Buffer): RingHit | undefined {
  const text = valueInside(plaintext);
  const hit = text === undefined ? undefined : ring.open(text);
  return hit?.opened.marker === 'resp_' ? undefined : hit;
}
