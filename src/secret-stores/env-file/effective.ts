import type { EnvFile } from './options.ts';
import type { Assignment, EnvFileReading } from './reading.ts';

/** A file as it was found. */
export interface EnvFileText extends EnvFile {
  /** latin1: one character a byte. */
  readonly text: string;
  readonly reading: EnvFileReading;
}

export interface PlacedAssignment extends Assignment {
  readonly file: EnvFileText;
}

/** Every assignment of a name that reaches the service's loader, in the order of reading. */
export function assignmentsOf(files: readonly EnvFileText[], name: string): PlacedAssignment[] {
  return files.flatMap((file) =>
    file.reading.assignments
      .filter((assignment) => assignment.name === name && assignment.exported)
      .map((assignment) => ({ ...assignment, file })),
  );
}

/**
 * The assignment that decides what the service sees. Within a file the last one wins, in every reader. Over several
 * files the last one wins too (systemd, shell, Compose, docker), but for a list of dotenv files: dotenv does not
 * override a variable that is set already, not even an empty one.
 */
export function decidingAssignment(
  files: readonly EnvFileText[],
  name: string,
): PlacedAssignment | undefined {
  const all = assignmentsOf(files, name);
  if (!files.every((file) => file.reader === 'dotenv')) return all.at(-1);
  const first = all[0]?.file;
  return all.findLast((assignment) => assignment.file === first);
}

export function placeOf({ file, line }: PlacedAssignment): string {
  return `${file.path}:${line}`;
}

/** The value as it is written, quotes included. */
export function rawValue({ file, valueStart, valueEnd }: PlacedAssignment): string {
  return file.text.slice(valueStart, valueEnd);
}
