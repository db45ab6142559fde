import { failureTypes, RotationError } from '../../rotation/failure.ts';
import { isBlocking } from '../../rotation/finding.ts';
import type { KeyName } from '../../rotation/keys.ts';
import { decidingAssignment } from './effective.ts';
import type { EnvFileText, PlacedAssignment } from './effective.ts';
import type { KeyVariables } from './options.ts';
import type { KeyValues } from './key-values.ts';
import { lineEnd, lineStart } from './reading.ts';
import { readText, survey } from './survey.ts';
import type { Survey } from './survey.ts';

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Base64url letters only: the one alphabet that every reader of env files takes the same way, quoted or not. */
const writableKey = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;

/**
 * The texts of the files with the pending keys in place of the current ones, in the order of `files`. Everything but
 * the values stays: `export`, quotes, spacing, comments, line endings. The result is read again by each file's reader
 * and compared, so that a wrong edit is an error here and not a service that does not start.
 */
export function editTexts(
  files: readonly EnvFileText[],
  found: Survey,
  names: KeyVariables,
  pending: KeyValues,
): string[] {
  const { current } = found;
  if (current.master === undefined || !found.masterLine) throw wrongEdit('there is no master key to replace');
  if (current.salt !== undefined && pending.salt === undefined)
    throw wrongEdit('a salt key cannot be taken away');
  for (const key of ['master', 'salt'] as const) {
    const value = pending[key];
    if (value !== undefined && value !== current[key] && !writableKey.test(value)) {
      throw wrongEdit(`the pending ${key} key has characters other than A-Z, a-z, 0-9, _ and -`);
    }
  }

  const added = current.salt === undefined ? pending.salt : undefined;
  if (added !== undefined && names.salt.length === 0)
    throw wrongEdit('no name is configured for the salt key');
  const texts = files.map((file) => {
    const changes = (assignment: PlacedAssignment & { key: KeyName }): boolean =>
      assignment.file === file && pending[assignment.key] !== current[assignment.key];
    const edits = [
      ...found.replacements
        .filter(changes)
        .map((assignment) => replacement(assignment, pending[assignment.key]!)),
      ...found.removals.filter(changes).map(removal),
      ...(added !== undefined && found.masterLine!.file === file
        ? [addition(found.masterLine!, names.salt[0]!, added)]
        : []),
    ];
    return apply(file.text, edits);
  });
  verify(files, texts, names, pending, added !== undefined);
  return texts;
}

/** The value between its quotes; only quotes that the reader takes off can stand around it. */
function replacement({ value, valueStart, valueEnd }: PlacedAssignment, key: string): Edit {
  const quote = valueEnd - valueStart === value.length ? 0 : 1;
  return { start: valueStart + quote, end: valueEnd - quote, text: key };
}

function removal({ file, nameStart, valueEnd }: PlacedAssignment): Edit {
  return { start: lineStart(file.text, nameStart), end: lineEnd(file.text, valueEnd), text: '' };
}

/** A line for the salt key right behind the master key's, in the same style. */
function addition(master: PlacedAssignment, name: string, salt: string): Edit {
  const { file, nameStart, valueStart, valueEnd, value } = master;
  const line = file.text.slice(lineStart(file.text, nameStart), nameStart);
  const prefix = /^[ \t]*(?:export[ \t]+)?/.exec(line)![0];
  const quote = valueEnd - valueStart === value.length ? '' : file.text[valueStart]!;
  const end = lineEnd(file.text, valueEnd);
  const ending = /\r?\n$/.exec(file.text.slice(0, end))?.[0];
  const added = `${prefix}${name}=${quote}${salt}${quote}`;
  // A file without a final newline keeps its habit.
  if (ending === undefined)
    return { start: end, end, text: `${file.text.includes('\r\n') ? '\r\n' : '\n'}${added}` };
  return { start: end, end, text: added + ending };
}

function apply(text: string, edits: readonly Edit[]): string {
  let result = text;
  for (const { start, end, text: replaced } of edits.toSorted((a, b) => b.start - a.start || b.end - a.end)) {
    result = result.slice(0, start) + replaced + result.slice(end);
  }
  return result;
}

/** Reads the edited texts again: ours have the pending values, every other assignment and every other byte is the same. */
function verify(
  files: readonly EnvFileText[],
  texts: readonly string[],
  names: KeyVariables,
  pending: KeyValues,
  saltAdded: boolean,
): void {
  const ours = new Set([...names.master, ...names.salt]);
  const edited = files.map((file, index) => readText(file, texts[index]!));
  const after = survey(edited, names);
  if (after.findings.some(isBlocking)) {
    throw wrongEdit('the edited files would not be read as they must be');
  }
  if (after.current.master !== pending.master || after.current.salt !== pending.salt) {
    throw wrongEdit('the edited files would not give the service the pending keys');
  }
  for (const key of ['master', 'salt'] as const) {
    for (const name of names[key]) {
      const before = decidingAssignment(files, name);
      const deciding = decidingAssignment(edited, name);
      const isAdded = saltAdded && name === names.salt[0];
      if (before ? deciding?.value !== pending[key] : Boolean(deciding) !== isAdded) {
        throw wrongEdit(`${name} would not have the pending ${key} key`);
      }
    }
  }
  files.forEach((file, index) => {
    const others = ({ reading }: EnvFileText): string[] =>
      reading.assignments.filter(({ name }) => !ours.has(name)).map(({ name, value }) => `${name}=${value}`);
    const same = JSON.stringify(others(file)) === JSON.stringify(others(edited[index]!));
    const addedName = saltAdded ? names.salt[0] : undefined;
    if (!same || remainder(file, ours) !== remainder(edited[index]!, ours, addedName)) {
      throw wrongEdit(`something else than the keys would change in ${file.path}`);
    }
  });
}

/** The text without our values (in a file of copies: without our lines) and without the line that was added. */
function remainder(file: EnvFileText, ours: ReadonlySet<string>, added?: string): string {
  const edits = file.reading.assignments
    .filter(({ name, value }) => ours.has(name) && value !== '')
    .map((assignment) => {
      const placed = { ...assignment, file };
      if (file.role === 'copies') return removal(placed);
      if (assignment.name !== added) return replacement(placed, '');
      const { start, end, text } = removal(placed);
      // Without a final newline, the one in front of the line was added with it.
      const ending =
        end === file.text.length ? (/\r?\n$/.exec(file.text.slice(0, start))?.[0].length ?? 0) : 0;
      return { start: file.text.endsWith('\n') ? start : start - ending, end, text };
    });
  return apply(file.text, edits);
}

function wrongEdit(why: string): RotationError {
  return new RotationError(
    failureTypes.refused,
    `cannot put the pending keys into the env files: ${why}; nothing was written`,
  );
}
