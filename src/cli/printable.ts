/** Controls, among them those of eight bits, and what changes the order in which a line is read. */
const obeyed = /[^\P{Cc}\n]|[\u202A-\u202E\u2066-\u2069]/gu;

/**
 * The same text, list or object, with what a terminal would obey spelled out. Names and messages come from Temporal, where
 * others write too, from LiteLLM's log and from its database.
 */
export function printable<T>(value: T): T {
  return walk(value) as T;
}

function walk(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll(obeyed, spell);
  if (Array.isArray(value)) return value.map(walk);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, walk(inner)]));
}

/** As JSON does. */
function spell(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
