import { parseEnv } from 'node:util';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { editTexts } from '../../src/secret-stores/env-file/editing.ts';
import { readEnvFile } from '../../src/secret-stores/env-file/readers.ts';
import type { ReaderName } from '../../src/secret-stores/env-file/readers.ts';
import { readText, survey } from '../../src/secret-stores/env-file/survey.ts';
import { readWithBash, startPythonDotenv } from './other-readers.ts';
import type { Values } from './other-readers.ts';
import {
  names,
  pendingMaster,
  pendingSalt,
  previousMaster,
  previousSalt,
  temporaryDirectory,
} from './store-fixture.ts';

let python: ReturnType<typeof startPythonDotenv>;
beforeAll(() => {
  python = startPythonDotenv();
});
afterAll(() => python.stop());

/** Lines as people write them, and worse. None runs a program when sourced. */
const quirkyLine = fc.constantFrom(
  '',
  '  ',
  '# note',
  '# it\'s "x',
  '#A=1',
  'A=1',
  'export A=1',
  'export\tA=1',
  '  A=1',
  'A=',
  "A=''",
  'A="a b"',
  "A='a b'",
  'A="a\\"b"',
  "A='it\\'s'",
  'A=a\\b',
  'A="a\\nb"',
  'A="a\\\\"',
  'A=a#b',
  'A=a #b',
  'A="a" # b',
  'A=#a',
  'A="a#b"',
  'A=a=b==',
  'A=\'a\'"b"',
  'A="a\nb"',
  "A='a\nb'",
  'B=1',
  'B="x"',
  'A=é',
  'A=1;B=2',
  'A=1 B=2',
  'A=*',
  'A=$B',
  'A="${B}"',
  'A=a$',
  "A='$B'",
  'A=~/x',
  'A=\\$B',
  'A="\\$B"',
  'A={a,b}',
  'A={"a":"b"}',
  'A=\'{"a":"b"}\'',
  'A= 1',
  'A =1',
  'A: 1',
  'A',
  'export A',
  'A-B=1',
  '1A=1',
  'A="a',
  "A='a",
  'A=a\\',
  '# note \\',
  'A=1\t',
  'A=a:~',
);

const plainLine = fc.constantFrom(
  '',
  '# note',
  'A=1',
  'export A=1',
  '  A=1',
  'A="a b"',
  "A='$B'",
  'A="a#b"',
  'A=a=b==',
  'B="x"',
  'A=\u00e9',
  'A=',
  'A=\'{"a":"b"}\'',
  'A="a\nb"',
  'A=a#b',
  '#LITELLM_SALT_KEY=',
  '# LITELLM_MASTER_KEY=sk-old',
  'A=1\t',
  'B=*',
);

const unexported = plainLine.filter((line) => !line.startsWith('export'));

/** How the lines with the keys are written; docker takes neither quotes nor `export`. */
const styles = { prefixes: ['', 'export ', '  '], quotes: ['', '"', "'"], ends: ['', '', '  '] };
const bareStyles = { prefixes: ['', '  '], quotes: [''], ends: [''] };

function lineOf(
  name: string,
  value: string,
  { prefixes, quotes, ends }: typeof styles,
): fc.Arbitrary<string> {
  return fc
    .tuple(fc.constantFrom(...prefixes), fc.constantFrom(...quotes), fc.constantFrom(...ends))
    .map(([prefix, quote, end]) => `${prefix}${name}=${quote}${value}${quote}${end}`);
}

/** The keys somewhere between lines of another generator; with or without a salt key and a final newline. */
function fileOf(line: fc.Arbitrary<string>, style = styles): fc.Arbitrary<string> {
  const lines = fc.array(line, { maxLength: 4 });
  const master = lineOf('LITELLM_MASTER_KEY', previousMaster, style);
  const copy = lineOf('LITELLM_PROXY_API_KEY', previousMaster, style);
  const salt = fc.option(lineOf('LITELLM_SALT_KEY', previousSalt, style), { nil: undefined });
  return fc
    .tuple(lines, master, lines, salt, copy, lines, fc.constantFrom('\n', ''))
    .map(([a, masterLine, b, saltLine, copyLine, c, end]) => {
      const salts = saltLine === undefined ? [] : [saltLine];
      const text = [...a, masterLine, ...b, ...salts, copyLine, ...c].join('\n') + end;
      return Buffer.from(text).toString('latin1');
    });
}

/** The text with the pending keys, or undefined when the survey refuses the file. */
function edit(reader: ReaderName, text: string): string | undefined {
  const file = readText({ path: '/keys', role: 'keys', reader }, text);
  const found = survey([file], names);
  if (found.findings.some(({ severity }) => severity === 'blocking')) return undefined;
  return editTexts([file], found, names, { master: pendingMaster, salt: pendingSalt })[0];
}

/** What a reader must take the edited text for. */
function withPendingKeys(before: Values): Values {
  return {
    ...before,
    LITELLM_MASTER_KEY: pendingMaster,
    LITELLM_PROXY_API_KEY: pendingMaster,
    LITELLM_SALT_KEY: pendingSalt,
  };
}

const runs = { numRuns: 300 };

describe('our reader and the real one take random files the same way', () => {
  test('python-dotenv', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(quirkyLine, { maxLength: 8 }),
        fc.constantFrom('\n', '\r\n'),
        async (lines, ending) => {
          const text = Buffer.from(lines.join('\n').replaceAll('\n', ending)).toString('latin1');
          const { assignments } = readEnvFile('dotenv', text);
          const ours = Object.fromEntries(assignments.map(({ name, value }) => [name, value]));
          expect(ours).toEqual(await python.read(text));
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('bash, as far as it expands nothing', () => {
    const directory = temporaryDirectory();
    let compared = 0;
    fc.assert(
      fc.property(fc.array(quirkyLine, { maxLength: 6 }), (lines) => {
        const text = Buffer.from(`${lines.join('\n')}\n`).toString('latin1');
        const { assignments } = readEnvFile('shell', text);
        const last = new Map(assignments.map((assignment) => [assignment.name, assignment]));
        const real = readWithBash(text, directory);
        for (const { name, value, literal } of last.values()) {
          if (!literal) continue;
          expect([name, real[name]]).toEqual([name, value]);
          compared += 1;
        }
        expect(Object.keys(real).filter((name) => !last.has(name))).toEqual([]);
      }),
      runs,
    );
    expect(compared).toBeGreaterThan(100);
  });
});

describe('after an edit, every other name reads the same and ours read the new keys', () => {
  test.for([
    ['quirky', quirkyLine, 20],
    ['plain', plainLine, 150],
  ] as const)('for python-dotenv, in random %s files', async ([, line, least]) => {
    let edited = 0;
    await fc.assert(
      fc.asyncProperty(fileOf(line), async (text) => {
        const after = edit('dotenv', text);
        if (after === undefined) return;
        edited += 1;
        expect(await python.read(after)).toEqual(withPendingKeys(await python.read(text)));
      }),
      runs,
    );
    expect(edited).toBeGreaterThan(least);
  });

  test.for([
    ['quirky', quirkyLine, 20],
    ['plain', plainLine, 100],
  ] as const)('for bash, in random %s files', ([, line, least]) => {
    const directory = temporaryDirectory();
    let edited = 0;
    fc.assert(
      fc.property(fileOf(line), (text) => {
        const after = edit('shell', text);
        if (after === undefined) return;
        edited += 1;
        expect(readWithBash(after, directory)).toEqual(withPendingKeys(readWithBash(text, directory)));
      }),
      runs,
    );
    expect(edited).toBeGreaterThan(least);
  });

  test.for(['systemd', 'shell', 'dotenv', 'docker-compose', 'docker'] as const)(
    "for Node's parseEnv, in random plain files that %s reads",
    (reader) => {
      let edited = 0;
      fc.assert(
        fc.property(reader === 'docker' ? fileOf(unexported, bareStyles) : fileOf(plainLine), (text) => {
          const after = edit(reader, text);
          if (after === undefined) return;
          edited += 1;
          expect(parseEnv(after)).toEqual(withPendingKeys(parseEnv(text) as Values));
        }),
        { numRuns: 1500 },
      );
      expect(edited).toBeGreaterThan(20);
    },
  );

  test('and every byte that is not a key is the same, in random files of every reader', () => {
    let edited = 0;
    fc.assert(
      fc.property(
        fileOf(fc.oneof(plainLine, quirkyLine)),
        fc.constantFrom<ReaderName>('systemd', 'shell', 'dotenv', 'docker-compose', 'docker'),
        fc.boolean(),
        (unix, reader, windows) => {
          const text = windows ? unix.replaceAll('\n', '\r\n') : unix;
          if (!text.includes('\nLITELLM_SALT_KEY=')) return;
          const after = edit(reader, text);
          if (after === undefined) return;
          edited += 1;
          const back = after.replaceAll(pendingMaster, previousMaster).replaceAll(pendingSalt, previousSalt);
          expect(back).toBe(text);
        },
      ),
      { numRuns: 3000 },
    );
    expect(edited).toBeGreaterThan(100);
  });
});
