import { hash } from 'node:crypto';

/** A statement that the session keeps, for one that comes again and again. */
export function prepared(
  text: string,
  values: readonly unknown[],
): { readonly name: string; readonly text: string; readonly values: unknown[] } {
  // By its text: a session outlives relations and their numbers, and node-postgres refuses a name for a second text.
  return { name: `litellm_rotate_${hash('sha256', text).slice(0, 32)}`, text, values: [...values] };
}
