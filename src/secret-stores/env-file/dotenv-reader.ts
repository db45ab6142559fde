import { isUtf8 } from 'node:buffer';
import { byteOrderMark, createLineFinder } from './reading.ts';
import type { Assignment, EnvFileReading, Remark } from './reading.ts';

// Python's \s within ASCII. JavaScript's \s would also match the byte A0, which is a part of many UTF-8 letters.
const blank = '[ \\t\\v\\f\\x1c-\\x1f]';
const whiteSpace = new RegExp(`(?:${blank}|[\\r\\n])*`, 'y');
const blanks = new RegExp(`${blank}*`, 'y');
const exportWord = new RegExp(`(?:export${blank}+)?`, 'y');
const quotedName = /'([^']+)'/y;
const bareName = new RegExp(`((?:(?!${blank})[^=#\\r\\n])+)`, 'y');
const singleQuoted = /'((?:\\.|[^'\\])*)'/sy;
const doubleQuoted = /"((?:\\.|[^"\\])*)"/sy;
const restOfLine = /[^\r\n]*/y;
const comment = new RegExp(`(?:${blank}*#[^\\r\\n]*)?`, 'y');
const endOfLine = new RegExp(`${blank}*(?:\\r\\n|\\n|\\r|$)`, 'y');
const inlineComment = new RegExp(`${blank}+#.*`, 's');
const trailingBlanks = new RegExp(`${blank}+$`);

const escapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

/**
 * Reads a file as python-dotenv does, which is what LiteLLM loads `.env` files with. The dotenv of npm and Node's
 * `--env-file` take some lines otherwise; none of those is a plain `NAME=value`, and the survey asks for those.
 * Source: python-dotenv 1.2.4, src/dotenv/parser.py and variables.py; earlier versions differ in backslashes within quotes.
 */
export function readDotenv(text: string): EnvFileReading {
  const lineAt = createLineFinder(text);
  let assignments: Assignment[] = [];
  const remarks: Remark[] = [];
  if (!isUtf8(Buffer.from(text, 'latin1'))) {
    remarks.push({ kind: 'refused', line: firstInvalidLine(text), what: 'bytes that are not UTF-8' });
  }

  let at = text.startsWith(byteOrderMark) ? byteOrderMark.length : 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text) ?? undefined;
    if (match) at += match[0].length;
    return match;
  };
  const binding = (): Assignment | 'none' | 'error' | { readonly unset: string } => {
    take(exportWord);
    const nameStart = at;
    let name: string | undefined;
    if (text[at] !== '#') {
      name = take(text[at] === "'" ? quotedName : bareName)?.[1];
      if (name === undefined) return 'error';
    }
    take(blanks);
    let value: { text: string; start: number; end: number } | undefined;
    if (text[at] === '=') {
      at += 1;
      const afterEquals = at;
      take(blanks);
      value = takeValue(afterEquals);
      if (!value) return 'error';
    }
    take(comment);
    if (!take(endOfLine)) return 'error';
    if (name === undefined) return 'none';
    if (value === undefined) return { unset: name };
    return {
      name,
      value: value.text,
      line: lineAt(nameStart),
      nameStart,
      valueStart: value.start,
      valueEnd: value.end,
      // Interpolated whatever the quotes.
      literal: !value.text.includes('${'),
      exported: true,
    };
  };
  const takeValue = (afterEquals: number) => {
    const start = at;
    const quote = text[at];
    if (quote === "'" || quote === '"') {
      const match = take(quote === "'" ? singleQuoted : doubleQuoted);
      if (!match) return undefined;
      const decoded = match[1]!
        .replace(/\r\n?/g, '\n')
        .replace(
          quote === "'" ? /\\([\\'])/g : /\\([\\'"abfnrtv])/g,
          (_, letter: string) => escapes[letter] ?? letter,
        );
      return { text: decoded, start, end: at };
    }
    const part = take(restOfLine)![0];
    // `NAME= # comment` is empty since python-dotenv 1.2.
    const bare = start > afterEquals && part.startsWith('#') ? '' : part;
    const kept = bare.replace(inlineComment, '').replace(trailingBlanks, '');
    return kept === ''
      ? { text: '', start: afterEquals, end: afterEquals }
      : { text: kept, start, end: start + kept.length };
  };

  while (at < text.length) {
    take(whiteSpace);
    if (at >= text.length) break;
    const taken = binding();
    if (taken === 'error') {
      take(restOfLine);
      if (text[at] === '\r' || text[at] === '\n') at += 1;
    } else if (taken !== 'none') {
      // A bare name unsets what an earlier line of the file assigned.
      if ('unset' in taken) assignments = assignments.filter(({ name }) => name !== taken.unset);
      else assignments.push(taken);
    }
  }
  return { assignments, remarks };
}

function firstInvalidLine(text: string): number {
  const lines = text.split('\n');
  return lines.findIndex((line) => !isUtf8(Buffer.from(line, 'latin1'))) + 1;
}
