/** How a value is sealed; the format is part of the stored text, and a re-encrypted value keeps it. */
export type SealedFormat = 'legacy' | 'v2' | 'v3';

/** What may stand in front of a sealed value; it is kept. */
export type SealedMarker = '' | 'litellm_enc::' | 'resp_';

/** Everything about a stored text but its plaintext and its key: what `seal` needs to write it the way it was. */
export interface SealedShape {
  readonly format: SealedFormat;
  readonly marker: SealedMarker;
  /** Very old rows are in the standard base64 alphabet. */
  readonly alphabet: 'urlsafe' | 'standard';
}

export interface OpenedValue extends SealedShape {
  readonly plaintext: Buffer;
}

/** Opens and seals single values under one key. */
export interface ValueCipher {
  /** The value, or undefined when the text was not sealed with this key (both ciphers authenticate). Never throws. */
  open(text: string): OpenedValue | undefined;
  /** Seals with a fresh nonce. */
  seal(plaintext: Uint8Array, shape: SealedShape): string;
}
