import { shortestSealedText } from './sealed-text.ts';

/** A cell with fewer bytes holds no sealed value: for `octet_length(cell) >= ...`. */
export const sealedCandidateMinLength = shortestSealedText;

/**
 * What a cell that holds a sealed value as LiteLLM writes it is told by in Postgres: it holds `marker` (for `like`), or
 * `run` is found in it (an ARE, for `~`). In a text cell, in the text of a json or jsonb cell at any depth, or in JSON
 * kept inside a string. Two steps take two thirds of the time of one expression with two branches: Postgres searches for
 * a fixed text much faster.
 *
 * `marker` is part of the prefixes `v2:gcm:` and `v3:gcm:`; `run` asks for the base64 digits of either alphabet that a
 * legacy value of an empty plaintext has without its padding (40 bytes). A run is met at its first digit only: without
 * `(?:^|[^...])` Postgres follows a run from each of its digits at once, at twice the time for cells with digests in them.
 *
 * Necessary only: sha256 digests in hex match, too, and `looksSealed` and the ciphers decide. What it misses, although
 * LiteLLM opens it: a value with foreign characters between its digits (wrapped lines, blanks), and a `json` (not
 * `jsonb`) cell whose writer spelled letters of the value as `\u0041` or `/` as `\/`. LiteLLM writes neither; a
 * scan that must see them has to fetch every cell and ask `looksSealed`.
 */
export const sealedCandidateParts = {
  marker: ':gcm:',
  run: '(?:^|[^A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{54}',
  /** Digits that a run has at least. */
  runLength: 54,
} as const;
