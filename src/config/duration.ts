import * as z from 'zod';

const milliseconds = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads `500ms`, `90s`, `3m`, `2h` or `90d` as milliseconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  return match === null ? undefined : Number(match[1]) * milliseconds[match[2] as keyof typeof milliseconds];
}

/** Node's timers count to 2^31 ms: one that is set to more ends at once. */
const longest = 24 * milliseconds.d;
const wanted = 'expected a length of time such as 90s, 3m or 2h';

/** A length of time in the configuration, as milliseconds. */
export const duration = z.string({ error: wanted }).transform((text, context) => {
  const parsed = parseDuration(text);
  if (parsed !== undefined && parsed <= longest) return parsed;
  context.addIssue({ code: 'custom', message: parsed === undefined ? wanted : 'expected at most 24d' });
  return z.NEVER;
});
