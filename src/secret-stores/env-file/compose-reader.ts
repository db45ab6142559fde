import { byteOrderMark, createLineFinder } from './reading.ts';
import type { Assignment, EnvFileReading, Remark } from './reading.ts';

/**
 * Reads a file as Docker Compose does for `env_file:` (default format; `format: raw` is the docker reader). A refused
 * line makes Compose refuse the file. Values that it would expand (`$` outside single quotes) are not literal.
 * Source: compose-go 2, dotenv/parser.go; Compose 2.40 and 5.0.
 */
export function readCompose(text: string): EnvFileReading {
  const lineAt = createLineFinder(text);
  const assignments: Assignment[] = [];
  let at = text.startsWith(byteOrderMark) ? byteOrderMark.length : 0;
  const refused = (offset: number, what: string, kind: Remark['kind'] = 'refused'): EnvFileReading => ({
    assignments,
    remarks: [{ kind, line: lineAt(offset), what }],
  });
  const skip = (pattern: RegExp): void => {
    pattern.lastIndex = at;
    at += pattern.exec(text)![0].length;
  };

  while (at < text.length) {
    skip(/[ \t\v\f\r\n]*/y);
    if (at >= text.length) break;
    if (text[at] === '#') {
      skip(/[^\n]*/y);
      continue;
    }
    skip(/(?:export[ \t\v\f\r\n]+)?/y);
    const nameStart = at;
    while (at < text.length && /[A-Za-z0-9_.\-[\] \t\v\f\r\x80-\xff]/.test(text[at]!)) at += 1;
    const name = text.slice(nameStart, at).replace(/[ \t\v\f\r]+$/, '');
    const separator = text[at];
    if (separator !== undefined && !'=:\n'.includes(separator)) {
      return refused(nameStart, 'a character that no name may have');
    }
    if (/[ \t\v\f\r]/.test(name)) return refused(nameStart, 'a name with white space in it');
    // A bare name is inherited from the caller's environment.
    if (separator === undefined || separator === '\n') continue;
    at += 1;
    const afterSeparator = at;
    skip(/[ \t\v\f\r]*/y);
    const value = takeValue(text, at, afterSeparator);
    if (!value) return refused(nameStart, 'a quote that is never closed', 'unclosed-quote');
    at = value.next;
    const { valueStart, valueEnd, literal } = value;
    const line = lineAt(nameStart);
    assignments.push({
      name,
      value: value.value,
      line,
      nameStart,
      valueStart,
      valueEnd,
      literal,
      exported: true,
    });
  }
  return { assignments, remarks: [] };
}

function takeValue(text: string, start: number, afterSeparator: number) {
  const quote = text[start];
  if (quote !== '"' && quote !== "'") {
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    const kept = text
      .slice(start, end)
      .replace(/ #.*$/s, '')
      .replace(/[ \t\v\f\r]+$/, '');
    const valueStart = kept === '' ? afterSeparator : start;
    return {
      value: kept,
      valueStart,
      valueEnd: valueStart + kept.length,
      literal: !expands(kept),
      next: end,
    };
  }
  let value = '';
  for (let at = start + 1; at < text.length; at += 1) {
    const character = text[at]!;
    if (character === quote) {
      const literal = quote === "'" || !expands(value);
      const unescaped = quote === "'" ? value : unescape(value);
      return { value: unescaped, valueStart: start, valueEnd: at + 1, literal, next: at + 1 };
    }
    if (character === '\\' && at + 1 < text.length) {
      at += 1;
      value += text[at] === quote ? quote : `\\${text[at]}`;
    } else value += character;
  }
  return undefined;
}

/** Whether compose-go's template would take something for a variable; `$$` stands for one dollar sign. */
function expands(value: string): boolean {
  return /\$[$A-Za-z_{]/.test(value);
}

const escapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

function unescape(value: string): string {
  return value.replace(/\\([abfnrtv$"\\])/g, (_, letter: string) => escapes[letter] ?? letter);
}
