/** A word of a shell command, from its first character up to the white space or operator that ends it. */
export interface ShellWord {
  readonly value: string;
  readonly end: number;
  /** False when the shell expands or executes a part of it. */
  readonly literal: boolean;
  readonly closed: boolean;
}

/**
 * Reads the word (or the value of an assignment) that starts at an offset, with quotes and escapes taken off, without
 * expanding anything. Source: POSIX.1-2024, Shell Command Language, 2.2 and 2.6; bash(1), QUOTING.
 */
export function readShellWord(text: string, from: number): ShellWord {
  let value = '';
  let literal = true;
  let at = from;
  while (at < text.length) {
    const character = text[at]!;
    if (' \t\n;&|()<>'.includes(character)) break;
    if (character === "'") {
      const close = text.indexOf("'", at + 1);
      if (close === -1) return { value, end: text.length, literal, closed: false };
      value += text.slice(at + 1, close);
      at = close + 1;
    } else if (character === '"') {
      const quoted = readDoubleQuoted(text, at + 1);
      if (!quoted.closed) return { value, end: text.length, literal, closed: false };
      value += quoted.value;
      literal &&= quoted.literal;
      at = quoted.end;
    } else if (character === '\\') {
      if (text[at + 1] !== '\n') value += text[at + 1] ?? '\\';
      at += 2;
    } else if (startsExpansion(text, at)) {
      literal = false;
      const end = skipExpansion(text, at);
      if (end === undefined) return { value, end: text.length, literal, closed: false };
      at = end;
    } else {
      if (character === '~' && (at === from || text[at - 1] === ':')) literal = false;
      value += character;
      at += 1;
    }
  }
  return { value, end: Math.min(at, text.length), literal, closed: true };
}

function readDoubleQuoted(text: string, from: number): ShellWord {
  let value = '';
  let literal = true;
  let at = from;
  while (at < text.length) {
    const character = text[at]!;
    if (character === '"') return { value, end: at + 1, literal, closed: true };
    if (character === '\\') {
      const escaped = text[at + 1] ?? '';
      if ('"\\`$'.includes(escaped)) value += escaped;
      else if (escaped !== '\n') value += `\\${escaped}`;
      at += 2;
    } else if (startsExpansion(text, at) && text[at + 1] !== "'" && text[at + 1] !== '"') {
      literal = false;
      const end = skipExpansion(text, at);
      if (end === undefined) break;
      at = end;
    } else {
      value += character;
      at += 1;
    }
  }
  return { value, end: text.length, literal, closed: false };
}

function startsExpansion(text: string, at: number): boolean {
  return text[at] === '`' || (text[at] === '$' && /[A-Za-z0-9_{(@*#?$!'"-]/.test(text[at + 1] ?? ''));
}

/** The offset behind an expansion, or undefined when it is not closed. The value is not needed: it is not literal. */
function skipExpansion(text: string, at: number): number | undefined {
  if (text[at] === '`') {
    for (let end = at + 1; end < text.length; end += 1) {
      if (text[end] === '\\') end += 1;
      else if (text[end] === '`') return end + 1;
    }
    return undefined;
  }
  const opening = text[at + 1]!;
  if (opening === '"') return at + 1;
  if (opening === "'") {
    for (let end = at + 2; end < text.length; end += 1) {
      if (text[end] === '\\') end += 1;
      else if (text[end] === "'") return end + 1;
    }
    return undefined;
  }
  if (opening !== '{' && opening !== '(') return at + 2;
  const closing = opening === '{' ? '}' : ')';
  for (let depth = 0, end = at + 1; end < text.length; end += 1) {
    if (text[end] === '\\') end += 1;
    else if (text[end] === opening) depth += 1;
    else if (text[end] === closing && --depth === 0) return end + 1;
  }
  return undefined;
}
