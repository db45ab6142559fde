import { type Finding, isBlocking } from '../../rotation/finding.ts';
import { assignmentsOf, decidingAssignment, placeOf } from './effective.ts';
import type { EnvFileText, PlacedAssignment } from './effective.ts';
import { lineStart } from './reading.ts';
import { valueFinding } from './value-findings.ts';

/** LiteLLM re-encrypts its database at start when it is set, which would race with a rotation. */
export const migrationVariable = 'LITELLM_MIGRATE_FROM_MASTER_KEY';

/** What is wrong with the assignments of one name, apart from what other names hold. */
export function nameFindings(
  files: readonly EnvFileText[],
  name: string,
  filled: readonly PlacedAssignment[],
): Finding[] {
  const findings: Finding[] = filled.map(valueFinding).filter((finding) => finding !== undefined);
  for (const file of files) {
    for (const assignment of file.reading.assignments) {
      if (assignment.name !== name || assignment.exported || assignment.value === '') continue;
      findings.push(valueFinding({ ...assignment, file })!);
    }
  }
  const deciding = decidingAssignment(files, name);
  for (const assignment of assignmentsOf(files, name)) {
    if (assignment.value !== '' || !assignment.literal) continue;
    const decides = deciding?.file === assignment.file && deciding.line === assignment.line;
    findings.push({
      severity: decides ? 'blocking' : 'warning',
      code: decides ? 'emptied-name' : 'empty-line',
      where: placeOf(assignment),
      found: decides
        ? `\`${name}=\` without a value, which wipes what other lines set: the service sees an empty ${name}`
        : `\`${name}=\` without a value, which would wipe the key if it were read in another order`,
      expected: `no line for ${name} here`,
      next: `delete line ${assignment.line}, or comment it out: #${name}=`,
    });
  }
  const [first, ...others] = filled;
  for (const other of others) {
    const sameFile = first!.file === other.file;
    if (other.value !== first!.value) {
      findings.push({
        severity: 'blocking',
        code: sameFile ? 'duplicate-differs' : 'two-sources',
        where: placeOf(other),
        found: `another value of ${name} than at ${placeOf(first!)}`,
        expected: `one value of ${name}`,
        next: `keep the value that the service has now (${placeOf(deciding!)} decides) and delete the other line`,
      });
    } else if (other.file.role === 'keys' && first!.file.role === 'keys') {
      findings.push({
        severity: 'warning',
        code: 'duplicate',
        where: placeOf(other),
        found: `${name} again, with the same value as at ${placeOf(first!)}`,
        expected: `one line for ${name}`,
        next: 'nothing: every one of them is replaced; delete all but one when convenient',
      });
    }
  }
  if (first && filled.every(({ file }) => file.role === 'copies')) {
    const keysFile = files.find(({ role }) => role === 'keys');
    findings.push({
      severity: 'blocking',
      code: 'name-only-in-copies',
      where: placeOf(first),
      found: `${name} only in a file from which copies of keys are removed: the service would lose it`,
      expected: `${name} in ${keysFile?.path ?? 'a file of the role keys'}`,
      next: `move the line to ${keysFile?.path ?? 'a file of the role keys'}, or give this file the role \`keys\``,
    });
  }
  for (const assignment of filled) {
    if (assignment.file.role === 'copies' && !standsAlone(assignment)) {
      findings.push({
        severity: 'blocking',
        code: 'shared-line',
        where: placeOf(assignment),
        found: `a copy of ${name} on a line that assigns something else too`,
        expected: 'the copy on a line of its own, so that the line can be removed',
        next: `delete the copy of ${name} from line ${assignment.line}`,
      });
    }
  }
  return findings;
}

/** Copies of a key under other names must be equal to it: they are replaced with it. */
export function copyFindings(
  files: readonly EnvFileText[],
  name: string,
  first: string,
  value: string | undefined,
): Finding[] {
  const deciding = decidingAssignment(files, name);
  if (!deciding || !value || deciding.value === '' || deciding.value === value || !deciding.literal)
    return [];
  return [
    {
      severity: 'blocking',
      code: 'copy-differs',
      where: placeOf(deciding),
      found: `${name} with another value than ${first}, of which it is configured to be a copy`,
      expected: 'the same value in both',
      next: `correct line ${deciding.line}, or take ${name} out of the configured names`,
    },
  ];
}

export function masterFindings(
  files: readonly EnvFileText[],
  name: string,
  value: string | undefined,
  found: readonly Finding[],
): Finding[] {
  const where = files.map(({ path }) => path).join(', ');
  if (value === undefined) {
    // An unread or emptied line has its own finding, which says what to do about it.
    const explained = found.some((finding) => isBlocking(finding) && finding.found.includes(name));
    if (explained) return [];
    return [
      {
        severity: 'blocking',
        code: 'master-key-missing',
        where,
        found: `no value of ${name}`,
        expected: `${name}=sk-... in a file of the role keys`,
        next: 'name the files that the service reads, in the order in which it reads them',
      },
    ];
  }
  const deciding = decidingAssignment(files, name)!;
  if (!deciding.literal || /^(?:["'])?sk-/.test(value)) return [];
  return [
    {
      severity: 'blocking',
      code: 'master-key-without-prefix',
      where: placeOf(deciding),
      found: `a ${name} that does not start with sk-`,
      expected: 'a master key that starts with sk-, as LiteLLM asks of its clients',
      next: 'check that this is the file, and the line, that the service reads',
    },
  ];
}

export function migrationFinding(assignment: PlacedAssignment): Finding {
  return {
    severity: 'blocking',
    code: 'migration-variable-set',
    where: placeOf(assignment),
    found: `${migrationVariable}, with which LiteLLM re-encrypts its database by itself at the next start`,
    expected: `no ${migrationVariable}`,
    next: `delete line ${assignment.line} once LiteLLM's own migration is done`,
  };
}

/** Whether a whole line can be removed with the assignment. */
function standsAlone({ file, line, valueEnd, nameStart }: PlacedAssignment): boolean {
  const before = file.text.slice(lineStart(file.text, nameStart), nameStart);
  const newline = file.text.indexOf('\n', valueEnd);
  const after = file.text.slice(valueEnd, newline === -1 ? undefined : newline);
  const alone = file.reading.assignments.filter((other) => other.line === line).length === 1;
  return alone && /^[ \t]*(?:export[ \t]+)?$/.test(before) && /^[ \t]*(?:[;]?[ \t]*(?:#.*)?)\r?$/.test(after);
}
