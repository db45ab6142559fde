import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { replaceArrayElements } from '../../src/reencryption/values/array-elements.ts';
import { pairStrings, replaceStrings } from '../../src/reencryption/values/cell.ts';
import { replaceJsonLeaves } from '../../src/reencryption/values/json-leaves.ts';

const json = { content: 'json', array: false } as const;

describe('string leaves of a json text', () => {
  test('numbers, duplicate keys, order and whitespace stay as they were written', () => {
    const text =
      ' { "n": 1e400, "big":12345678901234567890 ,"z":-0, "n" : "take me", "":[ "take me",null,true, 1.10 ],"take me":{} } ';
    const replaced = replaceJsonLeaves(text, (leaf) => (leaf === 'take me' ? 'taken' : undefined));
    expect(replaced).toBe(
      ' { "n": 1e400, "big":12345678901234567890 ,"z":-0, "n" : "taken", "":[ "taken",null,true, 1.10 ],"take me":{} } ',
    );
  });

  test.for([
    ['escaped quotes', String.raw`{"a":"x\"y","b":"\\"}`, ['x"y', '\\']],
    ['escaped slashes and letters', String.raw`["\/\u0041"]`, ['/A']],
    ['a lone surrogate', String.raw`["\ud800"]`, ['\ud800']],
    ['a surrogate pair', String.raw`["\ud83d\ude00", "😀"]`, ['😀', '😀']],
    ['a document that is one string', '"only"', ['only']],
    ['a colon in a string that is not a key', '["a:", "b" ,"c"]', ['a:', 'b', 'c']],
    ['keys with blanks before the colon', '{"k" \n\t: "v"}', ['v']],
    ['no strings', '[1,2,{}]', []],
  ] as const)('sees %s', ([, text, leaves]) => {
    const seen: string[] = [];
    expect(replaceJsonLeaves(text, (leaf) => void seen.push(leaf))).toBeUndefined();
    expect(seen).toEqual(leaves);
  });

  test('any document has the leaves that JSON.parse finds, and nothing else changes when they are replaced', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const seen: string[] = [];
        const replaced = replaceJsonLeaves(text, (leaf) => {
          seen.push(leaf);
          return `<${seen.length - 1}>`;
        });
        const expected: string[] = [];
        const masked = mask(JSON.parse(text), expected);
        expect(seen).toEqual(expected);
        expect(JSON.parse(replaced ?? text)).toEqual(masked);
      }),
      { numRuns: 1000 },
    );
  });
});

/** The document with its string values numbered, in the order of the text, by JSON.parse's own reading. */
function mask(value: unknown, found: string[]): unknown {
  if (typeof value === 'string') return `<${found.push(value) - 1}>`;
  if (Array.isArray(value)) return value.map((item) => mask(item, found));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mask(item, found)]));
}

describe('elements of an array', () => {
  test('NULL stays NULL, and the text "NULL" is an element', () => {
    const seen: string[] = [];
    const replaced = replaceArrayElements(String.raw`{a,NULL,"NULL","b \"c\" \\",""}`, (element) => {
      seen.push(element);
      return element === 'a' ? 'a{}' : undefined;
    });
    expect(seen).toEqual(['a', 'NULL', 'b "c" \\', '']);
    expect(replaced).toBe(String.raw`{"a{}",NULL,"NULL","b \"c\" \\",""}`);
  });

  test('bounds and dimensions stay', () => {
    expect(replaceArrayElements('[0:1][2:3]={{a,b},{c,d}}', (element) => element.toUpperCase())).toBe(
      '[0:1][2:3]={{A,B},{C,D}}',
    );
  });
});

describe('strings of a cell', () => {
  test('a json document inside a string is entered, and the rest of it stays', () => {
    const cell = JSON.stringify({ inner: JSON.stringify({ secret: 'take me', n: 1 }).replace('1', '1e400') });
    const replaced = replaceStrings(cell, json, (text) => (text === 'take me' ? 'taken' : undefined));
    expect(replaced).toBe(cell.replace('take me', 'taken'));
  });

  test.for([['text'], ['json']] as const)(
    'a json document behind blanks is entered, in a %s cell, too',
    ([content]) => {
      const document = '\n \t{"secret": "take me"}';
      const cell = content === 'json' ? JSON.stringify([document]) : document;
      const replaced = replaceStrings(cell, { content, array: false }, (text) =>
        text === 'take me' ? 'taken' : undefined,
      );
      expect(replaced).toBe(cell.replace('take me', 'taken'));
    },
  );

  test('what each string became is told from the two texts alone', () => {
    const cell = JSON.stringify({ a: ['one', 'two'], b: JSON.stringify({ c: 'one' }), d: 'stays' });
    const target = replaceStrings(cell, json, (text) => ({ one: '1', two: '2' })[text]) as string;
    expect([...pairStrings(cell, target, json)]).toEqual([
      ['one', '1'],
      ['two', '2'],
    ]);
  });
});
