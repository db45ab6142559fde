import { expect, test } from 'vitest';
import { splitStatements } from '../../lab/litellm/statements.ts';

test('cuts at semicolons between statements', () => {
  expect(splitStatements('select 1;\n\nselect 2;\n')).toEqual(['select 1', 'select 2']);
  expect(splitStatements('select 1')).toEqual(['select 1']);
});

test.for([
  ['a text with a semicolon and a quote', `insert into t values ('a;''b;')`],
  ['a quoted name', `select 1 as "a;b"`],
  ['a function body', 'create function f() returns int as $$ begin; return 1; end; $$ language plpgsql'],
  ['a tagged body', 'do $do$ begin perform $$a;b$$; end $do$'],
  ['a line comment', 'select 1 -- one; two'],
  ['a block comment', 'select /* one; two */ 1'],
])('leaves %s whole', ([, statement]) => {
  expect(splitStatements(`${statement}\n;select 2`)).toEqual([statement, 'select 2']);
});

test('drops what is only comment or blank', () => {
  expect(splitStatements('-- nothing;\n;; /* here; */ ;\nselect 1;')).toEqual(['select 1']);
});
