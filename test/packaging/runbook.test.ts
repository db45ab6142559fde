import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { failureTypes } from '../../src/rotation/failure.ts';
import { root } from './project.ts';

const runbook = await readFile(join(root, 'docs/runbook.md'), 'utf8');
const status = await readFile(join(root, 'src/rotation/status.ts'), 'utf8');
/** The rows of the table under a heading. */
const rowsUnder = (heading: string): string[] =>
  (runbook.split(/^#+ /m).find((section) => section.startsWith(heading)) ?? '')
    .split('\n')
    .filter((line) => line.startsWith('|'));

describe('docs/runbook.md', () => {
  test('sends the reader on from every outcome of a rotation', () => {
    const [, type = ''] = /^export type Outcome =([^;]+);/m.exec(status) ?? [];
    const outcomes = Array.from(type.matchAll(/'([^']+)'/g), ([, outcome]) => outcome ?? '');
    // Of other workflows, which leave nothing to do.
    const others = ['reencrypted', 'reconciled'];
    expect(outcomes).toEqual(expect.arrayContaining(others));
    const table = rowsUnder('Runbook').join('\n');
    const missing = outcomes.filter(
      (outcome) => !others.includes(outcome) && !table.includes(`\`${outcome}\``),
    );
    expect(missing).toEqual([]);
    for (const ended of ['terminated', 'timed out', 'failed']) expect(table).toContain(`\`${ended}\``);
  });

  test('says of every type of failure what to do', () => {
    const types = rowsUnder('What each failure looks like').flatMap(
      (row) => /^\| `(\w+)`/.exec(row)?.[1] ?? [],
    );
    expect(types.toSorted()).toEqual(Object.values(failureTypes).toSorted());
  });
});
