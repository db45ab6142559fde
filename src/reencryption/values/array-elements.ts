/**
 * Replaces elements in the text of a Postgres array (`array_out`: `{a,"b c",NULL}`, any number of dimensions, with or
 * without bounds in front), and nothing else. NULL elements stay. The new elements are quoted as `array_out` would, so
 * that the text equals what Postgres shows after the array was stored.
 * Source: PostgreSQL, src/backend/utils/adt/arrayfuncs.c, array_out.
 *
 * @returns the new text, or undefined when `replace` returned undefined for every element
 */
export function replaceArrayElements(
  array: string,
  replace: (element: string) => string | undefined,
): string | undefined {
  let result = '';
  let copied = 0;
  let at = array.indexOf('{');
  while (at !== -1 && at < array.length) {
    const char = array[at];
    if (char === '{' || char === '}' || char === ',') {
      at += 1;
      continue;
    }
    const end = char === '"' ? endOfQuoted(array, at) : endOfPlain(array, at);
    const token = array.slice(at, end);
    const element = char === '"' ? token.slice(1, -1).replace(/\\(.)/gs, '$1') : token;
    const replacement = char !== '"' && /^null$/i.test(token) ? undefined : replace(element);
    if (replacement !== undefined) {
      result += array.slice(copied, at) + quoteElement(replacement);
      copied = end;
    }
    at = end;
  }
  return copied === 0 ? undefined : result + array.slice(copied);
}

function endOfQuoted(array: string, open: number): number {
  for (let at = open + 1; at < array.length; at += 1) {
    if (array[at] === '\\') at += 1;
    else if (array[at] === '"') return at + 1;
  }
  throw new SyntaxError('unterminated element in an array');
}

function endOfPlain(array: string, from: number): number {
  for (let at = from; at < array.length; at += 1) {
    if (array[at] === ',' || array[at] === '}') return at;
  }
  return array.length;
}

function quoteElement(element: string): string {
  const plain = element !== '' && !/^null$/i.test(element) && !/[{}",\\ \t\n\r\v\f]/.test(element);
  return plain ? element : `"${element.replace(/["\\]/g, '\\$&')}"`;
}
