import { RotationError } from '../rotation/failure.ts';

/** How many lines belong to the failure of a LiteLLM that does not come up: it says why, and then farewell. */
export const failureLines = 30;

/** The failure with the last lines of what LiteLLM wrote, without secrets. */
export function withLastLines(
  { type, message }: RotationError,
  written: 'log' | 'output',
  lines: readonly string[],
  redact: (line: string) => string,
): RotationError {
  const shown = lines.slice(-failureLines).map((line) => `  ${redact(line)}`);
  return new RotationError(type, [message, `last lines of its ${written}:`, ...shown].join('\n'));
}
