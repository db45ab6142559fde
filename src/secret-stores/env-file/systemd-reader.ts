import { isUtf8 } from 'node:buffer';
import { createLineFinder } from './reading.ts';
import type { Assignment, EnvFileReading, Remark } from './reading.ts';

/**
 * Reads a file as systemd's `EnvironmentFile=` does: no `export`, no expansion, `#` and `;` comment only at the start of
 * a line, quotes only at the start of the value (or right behind a closing quote), backslash escapes also unquoted.
 * Source: systemd.exec(5); src/basic/env-file.c of systemd 257. Where 252 differs (a comment that ends in a backslash
 * swallows the next line), the survey has a finding.
 */
export function readSystemd(text: string): EnvFileReading {
  const lineAt = createLineFinder(text);
  const assignments: Assignment[] = [];
  const remarks: Remark[] = [];
  const nul = text.indexOf('\0');
  if (nul !== -1) remarks.push({ kind: 'refused', line: lineAt(nul), what: 'a NUL byte' });

  let at = 0;
  while (at < text.length) {
    const character = text[at]!;
    if (isWhiteSpace(character)) {
      at += 1;
    } else if (character === '#' || character === ';') {
      while (at < text.length && !isNewline(text[at])) at += 1;
    } else {
      const nameStart = at;
      while (at < text.length && text[at] !== '=' && !isNewline(text[at])) at += 1;
      if (text[at] !== '=') continue;
      const name = text.slice(nameStart, at).replace(/[ \t]+$/, '');
      const line = lineAt(nameStart);
      const { value, start, end, next, closed } = scanValue(text, at + 1);
      at = next;
      if (!closed) remarks.push({ kind: 'unclosed-quote', line, what: 'a quote that is never closed' });
      if (!isUtf8(Buffer.from(name + value, 'latin1'))) {
        remarks.push({ kind: 'refused', line, what: 'bytes that are not UTF-8' });
      }
      // Other names are ignored: among them `export NAME`, which systemd prints to the journal with its value.
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) continue;
      assignments.push({
        name,
        value,
        line,
        nameStart,
        valueStart: start,
        valueEnd: end,
        literal: true,
        exported: true,
      });
    }
  }
  return { assignments, remarks };
}

function scanValue(text: string, from: number) {
  let state: 'before' | 'bare' | 'single' | 'double' = 'before';
  let value = '';
  let start = -1;
  let end = from;
  /** The length of the value up to the white space that would be dropped at the end of the line. */
  let kept = 0;
  let at = from;
  scan: for (; at < text.length; at += 1) {
    const character = text[at]!;
    if (state === 'single' || (state === 'double' && character !== '\\')) {
      if (character === (state === 'single' ? "'" : '"')) state = 'before';
      else value += character;
      kept = value.length;
      end = at + 1;
    } else if (state === 'double') {
      at += 1;
      const escaped = text[at] ?? '';
      if ('"\\`$'.includes(escaped)) value += escaped;
      else if (escaped !== '\n') value += `\\${escaped}`;
      kept = value.length;
      end = Math.min(at + 1, text.length);
    } else if (isNewline(character)) {
      break scan;
    } else if (character === '\\') {
      if (start === -1) start = at;
      state = 'bare';
      at += 1;
      if (at < text.length && !isNewline(text[at])) value += text[at];
      kept = value.length;
      end = Math.min(at + 1, text.length);
    } else if (state === 'before' && (character === "'" || character === '"')) {
      if (start === -1) start = at;
      state = character === "'" ? 'single' : 'double';
      end = at + 1;
    } else if (state === 'bare' || !isWhiteSpace(character)) {
      if (start === -1) start = at;
      state = 'bare';
      value += character;
      if (!isWhiteSpace(character)) {
        kept = value.length;
        end = at + 1;
      }
    }
  }
  return {
    value: value.slice(0, kept),
    start: start === -1 ? from : start,
    end: start === -1 ? from : end,
    next: at,
    closed: state === 'before' || state === 'bare',
  };
}

function isNewline(character: string | undefined): boolean {
  return character === '\n' || character === '\r';
}

function isWhiteSpace(character: string): boolean {
  return character === ' ' || character === '\t' || isNewline(character);
}
