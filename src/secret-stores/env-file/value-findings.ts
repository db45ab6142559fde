import type { Finding } from '../../rotation/finding.ts';
import { placeOf, rawValue } from './effective.ts';
import type { PlacedAssignment } from './effective.ts';

/** A key whose value the readers of a file could take differently, or undefined when they all see the same. */
export function valueFinding(assignment: PlacedAssignment): Finding | undefined {
  const flaw = flawOf(assignment);
  if (!flaw) return undefined;
  return {
    severity: 'blocking',
    code: flaw.code,
    where: placeOf(assignment),
    found: `${assignment.name} with ${flaw.found}`,
    expected: 'a value that every reader of the file takes the same way',
    next:
      flaw.next ??
      `write line ${assignment.line} as ${assignment.name}=value, with the value that the service has now`,
  };
}

function flawOf(assignment: PlacedAssignment): { code: string; found: string; next?: string } | undefined {
  const { value, literal, exported, file } = assignment;
  const raw = rawValue(assignment);
  if (!exported) {
    return { code: 'not-exported', found: 'a value that is not exported, as it stands behind `set +a`' };
  }
  if (!literal || value.includes('$') || value.includes('`')) {
    return { code: 'value-not-literal', found: 'a value that is expanded by some readers ($, ` or ~)' };
  }
  if (value.endsWith('\r')) {
    return {
      code: 'value-with-carriage-return',
      found: 'a carriage return at the end of the value',
      next: `convert the file to LF line endings: sed -i 's/\\r$//' ${file.path}`,
    };
  }
  if (/^(["']).*\1$/s.test(value)) {
    return { code: 'value-with-quotes', found: `quotes that ${file.reader} takes for a part of the value` };
  }
  if (/[ \t\r\n\v\f]/.test(value))
    return { code: 'value-with-white-space', found: 'white space in the value' };
  const bare = raw === value;
  if (/[^!-~]|["'\\]/.test(value) || (bare && file.reader === 'dotenv' && value.includes('#'))) {
    return {
      code: 'value-not-plain',
      found: 'a quote, a backslash, a # or a character beyond ASCII in the value',
    };
  }
  if (!bare && raw !== `"${value}"` && raw !== `'${value}'`) {
    return {
      code: 'value-not-plain',
      found: 'a value in several pieces, with escapes or over several lines',
    };
  }
  return undefined;
}
