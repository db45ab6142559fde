import type { Finding } from '../../rotation/finding.ts';
import type { KeyName } from '../../rotation/keys.ts';
import { assignmentsOf, decidingAssignment } from './effective.ts';
import type { EnvFileText, PlacedAssignment } from './effective.ts';
import { lineFindings } from './line-findings.ts';
import type { EnvFile, KeyVariables } from './options.ts';
import { readEnvFile } from './readers.ts';
import {
  migrationVariable,
  copyFindings,
  masterFindings,
  migrationFinding,
  nameFindings,
} from './name-findings.ts';

/** What the files say about the keys, all of it at once, so that a person can mend everything in one go. */
export interface Survey {
  readonly findings: readonly Finding[];
  /** The values that the service would be started with; absent when not set (or empty). */
  readonly current: Readonly<Partial<Record<KeyName, string>>>;
  /** Values to be replaced with the new key. */
  readonly replacements: readonly (PlacedAssignment & { readonly key: KeyName })[];
  /** Lines to be removed: hard-coded copies of a key in a file of the role `copies`. */
  readonly removals: readonly (PlacedAssignment & { readonly key: KeyName })[];
  /** The line behind which a salt key goes when there is none. */
  readonly masterLine: PlacedAssignment | undefined;
}

/** Reads a file's text (latin1) the way its reader does. */
export function readText(file: EnvFile, text: string): EnvFileText {
  return { ...file, text, reading: readEnvFile(file.reader, text) };
}

/** Works out the effective keys and everything that stands in the way of replacing them. */
export function survey(files: readonly EnvFileText[], names: KeyVariables): Survey {
  const ours = new Set([...names.master, ...names.salt]);
  const findings: Finding[] = files.flatMap((file) => lineFindings(file, ours));
  const current: Partial<Record<KeyName, string>> = {};
  const replacements: Survey['replacements'][number][] = [];
  const removals: Survey['removals'][number][] = [];

  for (const key of ['master', 'salt'] as const) {
    const [first, ...copies] = names[key];
    if (first === undefined) continue;
    const value = decidingAssignment(files, first)?.value;
    if (value) current[key] = value;
    for (const name of names[key]) {
      const filled = assignmentsOf(files, name).filter(
        (assignment) => assignment.value !== '' || !assignment.literal,
      );
      findings.push(...nameFindings(files, name, filled));
      for (const assignment of filled) {
        (assignment.file.role === 'keys' ? replacements : removals).push({ ...assignment, key });
      }
    }
    for (const name of copies) findings.push(...copyFindings(files, name, first, value));
  }
  findings.push(...masterFindings(files, names.master[0]!, current.master, findings));
  for (const assignment of assignmentsOf(files, migrationVariable)) {
    if (assignment.value !== '' || !assignment.literal) findings.push(migrationFinding(assignment));
  }
  const masterLine = replacements.find(({ name }) => name === names.master[0]);
  return { findings, current, replacements, removals, masterLine };
}
