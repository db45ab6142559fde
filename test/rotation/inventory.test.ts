import { describe, expect, test } from 'vitest';
import { createRowList, parseInventoryRequest } from '../../src/rotation/inventory.ts';

const line = {
  table: 't',
  column: 'c',
  key: 'salt key',
  format: 'v2',
  marker: '',
  remark: '',
  values: 1,
} as const;
const id = (value: string, name = 'id') => [{ name, value }];

describe('the list of rows', () => {
  test('has a row once for each column, key and format, with how many values it holds', () => {
    const list = createRowList();
    for (const column of ['c', 'c', 'd']) list.add({ ...line, column }, id('1'));
    list.add(line, id('2'));
    list.add({ ...line, table: 'u' }, id('2'));
    expect(list.listed.map(({ table, column, row, values }) => [table, column, row, values])).toEqual([
      ['t', 'c', 'id=1', 2],
      ['t', 'd', 'id=1', 1],
      ['t', 'c', 'id=2', 1],
      ['u', 'c', 'id=2', 1],
    ]);
    expect(list.unlisted).toBe(0);
  });

  test('counts the rows beyond its limit, each once', () => {
    const list = createRowList(2);
    for (const value of ['1', '2', '3', '3', '4']) list.add(line, id(value));
    expect(list.listed).toHaveLength(2);
    expect(list.unlisted).toBe(2);
  });

  test.for([
    ['token', 'a'.repeat(64), 'token=aaaaaaaa…'],
    ['token', 'sk-1234', 'token=(not shown)'],
    ['id', 'sk-1234', 'id=(not shown)'],
    ['api_key', 'plain', 'api_key=(not shown)'],
    ['id', 'x'.repeat(41), 'id=(not shown)'],
    ['user_id', 'a\u001B[2J\nb', 'user_id=(not shown)'],
    ['user_id', 'Jürgen 世界', 'user_id=Jürgen 世界'],
    ['model_id', 'f3b0c8a2-0000-4000-8000-000000000000', 'model_id=f3b0c8a2-0000-4000-8000-000000000000'],
  ])('shows of the primary key %s %s: %s', ([name, value, shown]) => {
    const list = createRowList();
    list.add(line, id(value as string, name));
    expect(list.listed[0]?.row).toBe(shown);
  });
});

describe('the input', () => {
  test('needs a target and nothing else', () => {
    expect(parseInventoryRequest([{ target: 'prod' }])).toEqual({ target: 'prod', rows: false });
    expect(parseInventoryRequest([{ target: 'prod', rows: true, requestedBy: 'me' }])).toEqual({
      target: 'prod',
      rows: true,
    });
  });

  test.for([
    [[{}], '"target" is missing'],
    [[{ target: 'prod', rows: 'yes' }], '"rows" must be true or false'],
    [[{ target: 'prod', keys: [] }], 'unknown field "keys"; the fields are target, rows, requestedBy'],
    [[], 'found 0 arguments'],
  ] as const)('%j is refused: %s', ([inputs, sentence]) => {
    expect(() => parseInventoryRequest(inputs)).toThrow(sentence);
  });
});
