import { createLineFinder } from './reading.ts';
import type { Assignment, EnvFileReading, Remark } from './reading.ts';
import { readShellWord } from './shell-word.ts';

/** Commands after which the rest of the file may mean something else. */
const controlWords = new Set(
  'if then elif else fi for while until do done case esac select function { } [ [[ test ! return exit exec eval . source unset alias trap shift'.split(
    ' ',
  ),
);

/** Commands that change no variable. */
const harmlessWords = new Set([':', 'true', 'echo', 'printf', 'umask', '\r']);

/**
 * Reads a file as bash and dash do under `set -a; . file`. Nothing is executed or expanded: a value that needs it is
 * not literal, and a line that is neither an assignment nor `export` is remarked on.
 * Source: POSIX.1-2024, Shell Command Language, 2.9.1; bash(1), SIMPLE COMMANDS.
 */
export function readShell(text: string): EnvFileReading {
  const lineAt = createLineFinder(text);
  const assignments: Assignment[] = [];
  const remarks: Remark[] = [];
  let exportsAll = true;
  let at = 0;

  while (at < text.length) {
    const command = readCommand(text, at);
    const line = lineAt(command.start);
    at = command.next;
    if (command.broken) {
      const what = command.broken === 'refused' ? 'a syntax error' : 'a quote that is never closed';
      remarks.push({ kind: command.broken, line, what });
      break;
    }
    const [first, ...rest] = command.words;
    if (first === undefined) continue;
    const isExport = first.name === undefined && first.value === 'export';
    const parts = isExport ? rest : command.words;
    const plain =
      !command.operator && parts.every((word) => word.name !== undefined || (isExport && isName(word.value)));
    if (plain) {
      for (const word of parts) {
        if (word.name === undefined) continue;
        // `export` is a command, so its arguments may be taken for patterns or braces.
        const literal = word.literal && !(isExport && /[{*?[~]/.test(word.value));
        const { name, value, start: nameStart, valueStart, end: valueEnd } = word;
        const exported = isExport || exportsAll;
        assignments.push({
          name,
          value,
          line: lineAt(nameStart),
          nameStart,
          valueStart,
          valueEnd,
          literal,
          exported,
        });
      }
    } else if (first.value === 'set' && rest.length === 1 && /^[-+]a$/.test(rest[0]!.value)) {
      exportsAll = rest[0]!.value === '-a';
    } else if (command.operator === '(' || (first.name === undefined && controlWords.has(first.value))) {
      remarks.push({ kind: 'control', line, what: 'shell control flow' });
    } else if (command.operator || !harmlessWords.has(first.value)) {
      remarks.push({ kind: 'command', line, what: 'a line that is more than an assignment' });
    }
  }
  return { assignments, remarks };
}

interface Word {
  readonly start: number;
  readonly end: number;
  readonly value: string;
  readonly valueStart: number;
  readonly literal: boolean;
  /** Set when the word is `name=value`. */
  readonly name: string | undefined;
}

/** Reads up to the newline, `;` or operator that ends a simple command. */
function readCommand(text: string, from: number) {
  const words: Word[] = [];
  let operator: string | undefined;
  let start = -1;
  let at = from;
  while (at < text.length) {
    const character = text[at]!;
    if (character === ' ' || character === '\t') at += 1;
    else if (character === '\\' && text[at + 1] === '\n') at += 2;
    else if (character === '#') at = endOfLine(text, at);
    else if (character === '\n') {
      if (!operator || start === -1)
        return { words, operator, start: start === -1 ? at : start, next: at + 1 };
      return { words, operator, start, next: at + 1 };
    } else if (character === ';' && !operator) {
      // A `;` with nothing before it is a syntax error, which loses the rest of the file.
      if (start === -1) return { words, operator, start: at, next: text.length, broken: 'refused' as const };
      return { words, operator, start, next: at + 1 };
    } else if (';&|()<>'.includes(character)) {
      // The rest of the line is one compound command: what it does to the variables is not looked into.
      operator = operator === '(' ? operator : character;
      if (start === -1) start = at;
      at += 1;
    } else {
      if (start === -1) start = at;
      const name = /^[A-Za-z_][A-Za-z0-9_]*(?==)/.exec(text.slice(at, at + 256))?.[0];
      const valueStart = name === undefined ? at : at + name.length + 1;
      const { value, end, literal, closed } = readShellWord(text, valueStart);
      if (!closed) return { words, operator, start, next: text.length, broken: 'unclosed-quote' as const };
      words.push({ start: at, end, value, valueStart, literal, name });
      at = end;
    }
  }
  return { words, operator, start: start === -1 ? from : start, next: text.length };
}

function endOfLine(text: string, at: number): number {
  const newline = text.indexOf('\n', at);
  return newline === -1 ? text.length : newline;
}

function isName(word: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(word);
}
