/**
 * Something that preflight saw and a person should know. `blocking` refuses the rotation before anything is touched;
 * `warning` is shown and does not stop it; `note` explains a consequence. None of the texts may hold key material.
 */
export interface Finding {
  readonly severity: 'blocking' | 'warning' | 'note';
  /** Stable kebab-case name, such as `exported-line-unread`. */
  readonly code: string;
  /** The file and line, table and column, unit, or address that it is about. */
  readonly where: string;
  readonly found: string;
  readonly expected: string;
  /** The next command to run or edit to make. */
  readonly next: string;
}

/** Whether it refuses the rotation. */
export const isBlocking = ({ severity }: Finding): boolean => severity === 'blocking';

/** One sentence for a terminal or a failure message. */
export function describeFinding({ where, found, expected, next }: Finding): string {
  return `${where}: found ${found}; expected ${expected}; ${next}`;
}
