import { createHash } from 'node:crypto';
import type { Secret } from './secret.ts';

const mask = '[secret]';

/** What gives a secret away by its shape, in the order in which it is masked. What it was stays readable. */
const shapes: readonly (readonly [RegExp, string])[] = [
  // The password of a URL, up to the last @ of the word: passwords are often pasted unescaped.
  [/([a-z][a-z0-9+.-]*:\/\/[^\s:/?#@"']*):[^\s"']*@/gi, `$1:${mask}@`],
  [/\b(bearer|basic)(\s+|%20)[^\s"',;]+/gi, `$1 ${mask}`],
  [/\bsk-[A-Za-z0-9_.-]{4,}/g, mask],
  [/\b(\w*(?:key|secret|password|token))=(["']?)[^\s"'&,;]+/gi, `$1=$2${mask}`],
  // As Python and JSON print a dictionary. In prose, what stands behind `key:` has no quotes.
  [
    /\b(\w*(?:key|secret|password|token|credentials))(["']?\s*:\s*)(?:"(?:[^"\\]|\\.)+"|'(?:[^'\\]|\\.)+')/gi,
    `$1$2"${mask}"`,
  ],
  [/\b(v[23]:gcm:)[A-Za-z0-9+/_=-]+/g, `$1${mask}`],
];

/** Sealed values and other random base64; `looksRandom` leaves paths and dotted names alone. */
const longRun = /[A-Za-z0-9+/_-]{40,}={0,2}/g;

/** Shorter forms would mask ordinary words. */
const shortest = 4;

/** The time that the shapes take grows with the square of it: a prompt, or an image, on one line would stop the worker. */
const longestLine = 2_000;

/**
 * Masks, in a line that goes into an error or a log, the given secrets in every form in which they are likely to be
 * printed (plain, JSON and URL escaped, base64 of both alphabets, SHA-256 in hex), and whatever looks like a secret:
 * `sk-` keys, bearer tokens, passwords in URLs, `api_key=...`, sealed values. A long line is cut.
 */
export function createRedactor(secrets: readonly Secret[]): (line: string) => string {
  // The longest first, or a form that is part of another would leave the rest of it to be read.
  const forms = [...new Set(secrets.flatMap(formsOf))].toSorted((a, b) => b.length - a.length);
  return (line) => {
    let masked = cut(line);
    for (const form of forms) masked = masked.replaceAll(form, mask);
    for (const [shape, replacement] of shapes) masked = masked.replace(shape, replacement);
    return masked.replace(longRun, (run) => (looksRandom(run) ? mask : run));
  };
}

/** Before a word, as half of one could be half of a secret, which no form of it would match. */
function cut(line: string): string {
  return line.length <= longestLine ? line : `${line.slice(0, longestLine).replace(/\S*$/, '')}…`;
}

function looksRandom(run: string): boolean {
  return /[a-z]/.test(run) && /[A-Z]/.test(run) && /[0-9]/.test(run);
}

function formsOf(secret: Secret): string[] {
  const value = secret.reveal();
  const base64 = Buffer.from(value, 'utf8').toString('base64').replace(/=+$/, '');
  const hex = createHash('sha256').update(value, 'utf8').digest('hex');
  const forms = [
    value,
    value.trim(),
    JSON.stringify(value).slice(1, -1),
    encodeURIComponent(value),
    base64,
    base64.replaceAll('+', '-').replaceAll('/', '_'),
  ];
  return value.length < shortest
    ? [hex]
    : [...forms.filter(({ length }) => length >= shortest), hex, hex.toUpperCase()];
}
