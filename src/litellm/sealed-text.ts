import { aesGcmOverhead } from './aes-gcm.ts';
import { decodedLengthLimit, readBase64, readWellFormedBase64 } from './python-base64.ts';
import { secretboxOverhead } from './secretbox.ts';
import type { SealedFormat, SealedMarker, SealedShape } from './sealed-value.ts';

/**
 * What stands in front of a value of each format; a legacy value has no prefix.
 * Source: LiteLLM 1.110.2, proxy/common_utils/encrypt_decrypt_utils.py, `V2_GCM_PREFIX`.
 */
export const formatPrefixes = { legacy: '', v2: 'v2:gcm:', v3: 'v3:gcm:' } as const;

/**
 * Markers that LiteLLM takes off before it opens a value.
 * Source: LiteLLM 1.110.2, `CALLBACK_VAR_ENCRYPTED_PREFIX` in proxy/common_utils/callback_utils.py;
 * `_decrypt_response_id` in proxy/hooks/responses_id_security.py.
 */
const markers = ['litellm_enc::', 'resp_'] as const satisfies readonly SealedMarker[];

/** The shortest text that can be a sealed value: a marker-less v2 value of an empty plaintext. */
export const shortestSealedText = formatPrefixes.v2.length + 4 * Math.ceil(aesGcmOverhead / 3);

/** One way to read a text as a sealed value. */
export interface SealedReading {
  readonly marker: SealedMarker;
  readonly format: SealedFormat;
  /** `standard` only when the text could not be urlsafe base64. */
  readonly alphabet: SealedShape['alphabet'];
  /** Nonce, tag and ciphertext, in the format's order. */
  readonly sealed: Uint8Array;
}

/**
 * A cheap necessary condition: true for every text that LiteLLM opens under any key, and for texts that merely could
 * be one. As LiteLLM drops foreign characters, a long ASCII sentence passes whenever its letters happen to fill quads:
 * only opening it tells.
 */
export function looksSealed(text: string): boolean {
  if (text.length < shortestSealedText) return false;
  return starts(text).some(({ format, prefix }) => lengthOf(text, prefix.length, format) !== -1);
}

/** Every way to read the text, the most likely first; empty when no key can open it. */
export function readSealedText(text: string): readonly SealedReading[] {
  if (text.length < shortestSealedText) return [];
  const readings: SealedReading[] = [];
  for (const { marker, format, prefix } of starts(text)) {
    const from = prefix.length;
    const quick = readWellFormedBase64(text, from);
    if (quick !== undefined) {
      if (quick.length >= overheads[format])
        readings.push({ marker, format, alphabet: 'urlsafe', sealed: quick });
      continue;
    }
    const sealed = Buffer.allocUnsafe(decodedLengthLimit(text.length - from));
    const length = lengthOf(text, from, format, sealed);
    if (length === -1) continue;
    readings.push({ marker, format, alphabet: alphabetOf(text, from), sealed: sealed.subarray(0, length) });
  }
  return readings;
}

/** The text of a sealed value as LiteLLM writes it: padded. */
export function writeSealedText(sealed: Buffer, { marker, format, alphabet }: SealedShape): string {
  const prefix = marker + formatPrefixes[format];
  if (alphabet === 'standard') return prefix + sealed.toString('base64');
  return prefix + sealed.toString('base64url') + padding[sealed.length % 3];
}

const padding = ['', '==', '='] as const;

function alphabetOf(text: string, from: number): SealedShape['alphabet'] {
  const digits = text.slice(from);
  return /[+/]/.test(digits) && !/[-_]/.test(digits) ? 'standard' : 'urlsafe';
}

interface Start {
  readonly marker: SealedMarker;
  readonly format: SealedFormat;
  /** Marker and format's prefix: what stands in front of the digits. */
  readonly prefix: string;
}

const startOf = (marker: SealedMarker, format: SealedFormat): Start => ({
  marker,
  format,
  prefix: marker + formatPrefixes[format],
});

const overheads = { legacy: secretboxOverhead, v2: aesGcmOverhead, v3: aesGcmOverhead } as const;
const unmarkedLegacy: readonly Start[] = [startOf('', 'legacy')];
/** The longest first. Made once, as every string of a search is looked up here. */
const knownStarts: readonly (readonly Start[])[] = [
  ...(['v2', 'v3'] as const).flatMap((format) =>
    ['', ...markers].map((marker) => [startOf(marker as SealedMarker, format)]),
  ),
  [startOf('litellm_enc::', 'legacy')],
  // `resp_` is five base64 digits as well: one legacy value in 2^30 begins like that.
  [startOf('resp_', 'legacy'), ...unmarkedLegacy],
];

function starts(text: string): readonly Start[] {
  // Most values have neither marker nor prefix; their first character tells.
  if (!'lrv'.includes(text.charAt(0))) return unmarkedLegacy;
  return knownStarts.find(([first]) => text.startsWith((first as Start).prefix)) ?? unmarkedLegacy;
}

function lengthOf(text: string, from: number, format: SealedFormat, into?: Uint8Array): number {
  let length = readBase64(text, from, 'urlsafe', into);
  // LiteLLM tries the standard alphabet only when the first decoding raised, and for legacy values only
  // (`_legacy_ciphertext_bytes`).
  if (length === -1 && format === 'legacy' && (text.includes('-', from) || text.includes('_', from))) {
    length = readBase64(text, from, 'standard', into);
  }
  return length < overheads[format] ? -1 : length;
}
