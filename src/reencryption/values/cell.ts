import { replaceArrayElements } from './array-elements.ts';
import { isJsonDocument, replaceJsonLeaves } from './json-leaves.ts';

/** What a column's text is made of. */
export interface CellShape {
  /** `json`: json or jsonb; `text`: every string type. */
  readonly content: 'text' | 'json';
  /** An array of such. */
  readonly array: boolean;
}

/** JSON kept in a string, kept in a JSON string, ...: deeper than LiteLLM ever nests. */
const deepestNesting = 4;

/**
 * Replaces the strings of a cell that `replace` has an answer for; every other byte of the cell's text stays. A string
 * that is itself a JSON document is entered: LiteLLM stores some maps as JSON text inside a jsonb string. Entered first,
 * because Python's base64 drops brackets and quotes: `["..."]` around a sealed value would open as the value itself.
 *
 * @returns the new text of the cell, or undefined when nothing was replaced
 */
export function replaceStrings(
  cell: string,
  shape: CellShape,
  replace: (text: string) => string | undefined,
): string | undefined {
  const inText = (text: string, depth: number): string | undefined =>
    depth < deepestNesting && isJsonDocument(text)
      ? replaceJsonLeaves(text, (leaf) => inText(leaf, depth + 1))
      : replace(text);
  const inContent = (content: string): string | undefined =>
    shape.content === 'json' ? replaceJsonLeaves(content, (leaf) => inText(leaf, 0)) : inText(content, 0);
  return shape.array ? replaceArrayElements(cell, inContent) : inContent(cell);
}

/** Shows every string of a cell to `visit`, those inside JSON documents kept in strings, too. */
export function visitStrings(cell: string, shape: CellShape, visit: (text: string) => void): void {
  replaceStrings(cell, shape, (text) => {
    visit(text);
    return undefined;
  });
}

/**
 * The strings that differ between two texts of one cell of which one was made from the other by `replaceStrings`:
 * what each string of `source` became in `target`.
 */
export function pairStrings(source: string, target: string, shape: CellShape): ReadonlyMap<string, string> {
  const targets: string[] = [];
  visitStrings(target, shape, (text) => targets.push(text));
  const pairs = new Map<string, string>();
  let at = 0;
  visitStrings(source, shape, (text) => {
    const became = targets[at];
    at += 1;
    if (became !== undefined && became !== text) pairs.set(text, became);
  });
  return pairs;
}
