import { shortestSealedText } from './sealed-text.ts';

/** A cell with fewer bytes holds no sealed value: for `octet_length(cell) >= ...`. */
export const sealedCandidateMinLength = shortestSealedText;

/**
 * A Postgres regular expression (ARE, for `~`) that is found in every cell that holds a sealed value as LiteLLM writes
 * it: in a text cell, in the text of a json or jsonb cell at any depth, or in JSON kept inside a string. It asks for 54
 * base64 digits of either alphabet in a row (40 bytes, a legacy value of an empty plaintext, without its padding), or a
 * `v2:gcm:` / `v3:gcm:` prefix and 38 digits (28 bytes).
 *
 * A run is met at its first digit only: without `(?:^|[^...])` Postgres follows a run from each of its digits at once, at
 * twice the time for cells with digests in them.
 *
 * Necessary only: sha256 digests in hex match, too, and `looksSealed` and the ciphers decide. What it misses, although
 * LiteLLM opens it: a value with foreign characters between its digits (wrapped lines, blanks), and a `json` (not
 * `jsonb`) cell whose writer spelled letters of the value as `\u0041` or `/` as `\/`. LiteLLM writes neither; a
 * scan that must see them has to fetch every cell and ask `looksSealed`.
 */
export const sealedCandidateRegex = 'v[23]:gcm:[A-Za-z0-9+/_-]{38}|(?:^|[^A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{54}';

/**
 * The same in two steps, at two thirds of the time: whatever the expression above is found in holds `marker` (for `like`)
 * or is matched by `run`. Postgres searches for a fixed text much faster than for one of two branches.
 */
export const sealedCandidateParts = {
  marker: ':gcm:',
  run: '(?:^|[^A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{54}',
} as const;
