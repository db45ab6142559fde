/**
 * Base64 as Python's `binascii.a2b_base64` reads it when it is not strict, because that decides what LiteLLM opens.
 * Source: CPython 3.11, Modules/binascii.c; Lib/base64.py (`urlsafe_b64decode`, `b64decode`).
 *
 * - Padding is required: digits that do not fill a quad are an error.
 * - An ASCII character outside the alphabet is dropped; any other character is an error.
 * - A pad that completes a quad ends the value, whatever follows; a pad anywhere else is dropped.
 *
 * Node's decoder differs in each of these, and reads `Ł` (U+0141) as `A`.
 */

/** `urlsafe` takes both alphabets, even mixed (Python translates `-_` to `+/` first); `standard` drops `-` and `_`. */
export type Base64Alphabet = 'urlsafe' | 'standard';

const pad = 0x3d;
const foreign = 64;
const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

const standardTable = new Uint8Array(128).fill(foreign);
for (let value = 0; value < digits.length; value += 1) standardTable[digits.charCodeAt(value)] = value;
const urlsafeTable = Uint8Array.from(standardTable);
urlsafeTable['-'.charCodeAt(0)] = 62;
urlsafeTable['_'.charCodeAt(0)] = 63;

/**
 * The number of bytes that Python would decode from `text` at index `from`, or -1 where it would raise.
 * Writes them to `into` when that is given; see `decodedLengthLimit` for its size.
 */
export function readBase64(text: string, from: number, alphabet: Base64Alphabet, into?: Uint8Array): number {
  const table = alphabet === 'urlsafe' ? urlsafeTable : standardTable;
  let bytes = 0;
  let inQuad = 0;
  let pads = 0;
  let rest = 0;
  for (let at = from; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code > 127) return -1;
    const value = table[code] as number;
    if (value < foreign) {
      pads = 0;
      if (inQuad !== 0) {
        const shift = 6 - 2 * inQuad;
        if (into !== undefined) into[bytes] = (rest << (6 - shift)) | (value >> shift);
        bytes += 1;
        rest = value & ((1 << shift) - 1);
        inQuad = (inQuad + 1) & 3;
      } else {
        rest = value;
        inQuad = 1;
      }
    } else if (code === pad && inQuad >= 2) {
      pads += 1;
      if (inQuad + pads >= 4) return isAscii(text, at + 1) ? bytes : -1;
    }
  }
  return inQuad === 0 ? bytes : -1;
}

/** A full set of quads of urlsafe digits, as LiteLLM writes it: where Node's decoder and Python's agree. */
const wellFormed = /[\w-]+={0,2}$/y;

/**
 * What `readBase64` decodes with the urlsafe alphabet, at a tenth of the time, from a text that is well-formed from index
 * `from` to its end; undefined for any other text, which `readBase64` decides.
 */
export function readWellFormedBase64(text: string, from: number): Buffer | undefined {
  const characters = text.length - from;
  wellFormed.lastIndex = from;
  if (characters % 4 !== 0 || !wellFormed.test(text)) return undefined;
  const bytes = (characters / 4) * 3 - (text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0);
  const decoded = Buffer.allocUnsafe(bytes);
  return decoded.write(from === 0 ? text : text.slice(from), 'base64url') === bytes ? decoded : undefined;
}

/** No text of this many characters decodes to more bytes. */
export function decodedLengthLimit(characters: number): number {
  return Math.ceil(characters / 4) * 3;
}

// Python encodes the whole text as ASCII before it decodes any of it, so this holds behind the pad, too.
function isAscii(text: string, from: number): boolean {
  for (let at = from; at < text.length; at += 1) if (text.charCodeAt(at) > 127) return false;
  return true;
}
