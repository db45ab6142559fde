/**
 * Replaces string leaves (values, never keys) in the text of one valid JSON document, and nothing else: every other
 * byte stays, so numbers keep their digits (`1e400`, `12345678901234567890`, `-0`), and order and duplicates of keys
 * their place. `JSON.parse` and `stringify` would lose all three.
 *
 * @returns the new text, or undefined when `replace` returned undefined for every leaf
 */
export function replaceJsonLeaves(
  json: string,
  replace: (leaf: string) => string | undefined,
): string | undefined {
  let result = '';
  let copied = 0;
  for (let open = json.indexOf('"'); open !== -1;) {
    const close = endOfString(json, open + 1);
    const next = json.indexOf('"', close + 1);
    if (!isKey(json, close + 1)) {
      const replacement = replace(unescape(json.slice(open + 1, close)));
      if (replacement !== undefined) {
        result += json.slice(copied, open) + JSON.stringify(replacement);
        copied = close + 1;
      }
    }
    open = next;
  }
  return copied === 0 ? undefined : result + json.slice(copied);
}

/** Whether the text is a JSON document that can hold a string: an object, an array, or a string in its quotes. */
export function isJsonDocument(text: string): boolean {
  let at = 0;
  while (isBlank(text.charCodeAt(at))) at += 1;
  const first = text.charCodeAt(at);
  if (first !== 0x7b && first !== 0x5b && first !== 0x22) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The index of the closing quote: the first one with an even number of backslashes before it. */
function endOfString(json: string, from: number): number {
  for (let quote = json.indexOf('"', from); ; quote = json.indexOf('"', quote + 1)) {
    if (quote === -1) throw new SyntaxError('unterminated string in JSON');
    let backslashes = 0;
    while (json.charCodeAt(quote - 1 - backslashes) === 0x5c && quote - 1 - backslashes >= from)
      backslashes += 1;
    if (backslashes % 2 === 0) return quote;
  }
}

/** In valid JSON, a string is a key exactly when a colon follows it. */
function isKey(json: string, after: number): boolean {
  for (let at = after; at < json.length; at += 1) {
    const code = json.charCodeAt(at);
    if (code === 0x3a) return true;
    if (!isBlank(code)) return false;
  }
  return false;
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

function unescape(raw: string): string {
  return raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
}
