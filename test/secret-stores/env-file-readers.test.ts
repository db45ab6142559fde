import { describe, expect, test } from 'vitest';
import { readEnvFile } from '../../src/secret-stores/env-file/readers.ts';
import { columns, expanded, readerTable, refused, unset } from './reader-table.ts';

/** The line between two others, as it was when the table was measured. */
function fileOf(line: string): string {
  const text = line.startsWith('\ufeff')
    ? `${line}\nAFTER=ok\n`
    : line.endsWith('<EOF>')
      ? `OTHER=oth\n${line.slice(0, -5)}`
      : `OTHER=oth\n${line}\nAFTER=ok\n`;
  return Buffer.from(text, 'utf8').toString('latin1');
}

describe.for(columns.map((reader, index) => ({ reader, column: index + 1 })))(
  '$reader',
  ({ reader, column }) => {
    test.for(readerTable.map((row) => [row[0], row[column]!] as const))('takes %j as %s', ([line, taken]) => {
      const text = fileOf(line);
      const { assignments, remarks } = readEnvFile(reader, text);
      const refusals = remarks.filter(
        (remark) => remark.kind === 'refused' || remark.kind === 'unclosed-quote',
      );
      if (taken === refused) {
        expect(refusals).not.toEqual([]);
        return;
      }
      const last = assignments.findLast((assignment) => assignment.name === 'K');
      if (taken === unset) {
        expect(last).toBeUndefined();
        return;
      }
      expect(last, 'K is assigned').toBeDefined();
      expect(last!.literal).toBe(taken !== expanded);
      if (taken !== expanded) expect(Buffer.from(last!.value, 'latin1').toString('utf8')).toBe(taken);
      expect(text.slice(0, last!.nameStart).split('\n')).toHaveLength(last!.line);
    });

    test('takes a value of 20,000 characters whole', () => {
      const { assignments } = readEnvFile(reader, `OTHER=oth\nK=${'x'.repeat(20_000)}\nAFTER=ok\n`);
      expect(assignments.map(({ name, value }) => [name, value.length])).toEqual([
        ['OTHER', 3],
        ['K', 20_000],
        ['AFTER', 2],
      ]);
    });
  },
);

describe('lines that change the meaning of later ones', () => {
  test.for([
    ['systemd', 'K="abc', 'unclosed-quote'],
    ['shell', "K='abc", 'unclosed-quote'],
    ['shell', 'K=$(cat /etc/hostname', 'unclosed-quote'],
    ['docker-compose', 'K="abc', 'unclosed-quote'],
    ['systemd', 'K=a\0b', 'refused'],
    ['systemd', 'K=\xff', 'refused'],
    ['dotenv', '# \xff', 'refused'],
    ['docker', `K=${'x'.repeat(65_536)}`, 'refused'],
    ['shell', 'if true; then', 'control'],
    ['shell', ';K=abc', 'refused'],
    ['shell', 'declare -x K=abc', 'command'],
    ['shell', 'unset K', 'control'],
    ['shell', 'K=(a b)', 'control'],
    ['shell', 'K=a|b', 'command'],
    ['shell', 'K=abc some-program', 'command'],
  ] as const)('%s remarks on %j', ([reader, line, kind]) => {
    const { remarks } = readEnvFile(reader, `OTHER=oth\n${line}\nAFTER=ok\n`);
    expect(remarks[0]).toMatchObject({ kind, line: 2 });
  });

  test('an assignment after `set +a` is not exported by a shell, one with `export` is', () => {
    const { assignments } = readEnvFile('shell', 'A=1\nset +a\nB=2\nexport C=3\n');
    expect(assignments.map(({ name, exported }) => [name, exported])).toEqual([
      ['A', true],
      ['B', false],
      ['C', true],
    ]);
  });
});

describe('the range of a value', () => {
  test.for([
    ['systemd', 'K = "abc" ', '"abc"'],
    ['systemd', "K='a'", "'a'"],
    ['systemd', 'K=abc  \r', 'abc'],
    ['shell', 'export  K="abc" # why', '"abc"'],
    ['shell', 'A=1 K=abc; B=2', 'abc'],
    ['dotenv', "export K = 'abc' # why", "'abc'"],
    ['dotenv', 'K=abc  # why', 'abc'],
    ['docker-compose', 'K: "abc" # why', '"abc"'],
    ['docker-compose', 'K=abc # why', 'abc'],
    ['docker', 'K="abc" \r', '"abc" '],
  ] as const)('covers the value with its quotes, and nothing else: %s, %j', ([reader, line, raw]) => {
    const text = `OTHER=oth\n${line}\nAFTER=ok\n`;
    const found = readEnvFile(reader, text).assignments.find((assignment) => assignment.name === 'K')!;
    expect(text.slice(found.valueStart, found.valueEnd)).toBe(raw);
  });
});
