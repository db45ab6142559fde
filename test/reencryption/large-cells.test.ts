import { beforeEach, expect, test } from 'vitest';
import { closingSearch } from '../../src/reencryption/cutover/closing-search.ts';
import { readCatalog, type Relation } from '../../src/reencryption/postgres/catalog.ts';
import { pages, selectCandidates } from '../../src/reencryption/postgres/scan.ts';
import { fillModels, pending, previous, sealed } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const mebibyte = 1024 * 1024;
const lab = useTestDatabase();

/** Thirty rows of a mebibyte each, beside one another in a single block: Postgres keeps their cells elsewhere. */
beforeEach(async () => {
  await lab.client
    .query(`create table documents (id int primary key, content jsonb not null) with (autovacuum_enabled = false);
    alter table documents alter column content set storage external`);
  await lab.run(
    `insert into documents select i, jsonb_build_object('a', $1::text, 'b', repeat('b', ${mebibyte})) from generate_series(1, 30) as i`,
    [sealed('PLAIN-document')],
  );
});

async function relationOf(name: string): Promise<Relation> {
  const relation = (await readCatalog(lab.client, 'public', [])).find((found) => found.name === name);
  if (relation === undefined) throw new Error(`no table ${name}`);
  return relation;
}

async function rowsOfFirstPage(name: string): Promise<number> {
  const relation = await relationOf(name);
  await lab.run('begin');
  try {
    for await (const page of pages(lab.client, relation, selectCandidates(relation, relation.columns)))
      return page.length;
  } finally {
    await lab.run('rollback');
  }
  return 0;
}

test.for([
  ['never analyzed', 'select'],
  ['analyzed', 'analyze documents'],
])('a read of large rows begins with one of them: %s', async ([, look = '']) => {
  await lab.run(look);
  expect(await rowsOfFirstPage('documents')).toBe(1);
});

test('a read of usual rows begins with a hundred', async () => {
  await fillModels(lab.client, 1000);
  expect(await rowsOfFirstPage('LiteLLM_ProxyModelTable')).toBe(100);
});

test('the size of a table is that of all it keeps, wherever that is; of its rows alone, that of its blocks', async () => {
  const { bytes, heapBytes } = await relationOf('documents');
  expect(bytes).toBeGreaterThan(30 * mebibyte);
  expect(heapBytes).toBe(8192);
});

test('a partitioned table is as large as its partitions', async () => {
  await lab.client.query(`create table parted (like documents including storage) partition by range (id);
    create table parted_1 partition of parted for values from (1) to (16);
    create table parted_2 partition of parted for values from (16) to (31);
    insert into parted select * from documents`);
  const [parted, documents] = [await relationOf('parted'), await relationOf('documents')];
  expect(parted.bytes).toBeGreaterThan(30 * mebibyte);
  expect(parted.heapBytes).toBe(2 * documents.heapBytes);
});

test('a database that is small but for large cells is not searched once more while LiteLLM is stopped', async () => {
  const search = (copies: number) =>
    relationOf('documents').then((relation) =>
      closingSearch(
        lab.client,
        Array.from({ length: copies }, () => relation),
        { reached: pending, leaving: [previous], values: 30 },
      ),
    );
  await lab.run('begin');
  await expect(search(1)).rejects.toMatchObject({ type: 'CountMismatch' });
  await expect(search(10)).resolves.toBeUndefined();
  await lab.run('rollback');
});
