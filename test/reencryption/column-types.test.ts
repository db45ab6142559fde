import { beforeEach, describe, expect, test } from 'vitest';
import type { Fence } from '../../src/rotation/fence.ts';
import type { RotationDatabase } from '../../src/reencryption/port.ts';
import {
  begin,
  beforeSalt,
  dump,
  masterKey,
  never,
  opened,
  pending,
  previous,
  sealed,
  silent,
  transition,
  upgrade,
} from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();
let database: RotationDatabase;
let fence: Fence;

beforeEach(async () => {
  database = lab.rotationDatabase();
  fence = await begin(database);
});

const { run } = lab;
const underOthers = async () =>
  (await database.count(pending, [previous, beforeSalt], silent, never)).underOthers;

async function thereAndBack(): Promise<void> {
  const before = await dump(lab.client);
  await database.stage(transition, fence, silent, never);
  await database.swap(transition, masterKey, fence, silent);
  expect(await underOthers()).toBe(0);
  await database.restore(transition, masterKey, fence, silent);
  expect(await dump(lab.client)).toEqual(before);
}

describe('types of a fixed length, which SQL takes for one of length 1 when it is not given', () => {
  test('a value in a char(n), or an array of them, is carried over whole', async () => {
    await run('create table fixed (id int primary key, secret char(400), list char(400)[])');
    await run('insert into fixed values (1, $1, $2)', [sealed('PLAIN-char'), [sealed('PLAIN-element')]]);
    await thereAndBack();
    await database.swap(transition, masterKey, fence, silent);
    const { secret } = await run('select secret::text from fixed');
    expect(opened(secret ?? '', pending)).toBe('PLAIN-char');
  });

  test('a row whose key is a char(n) and a bit(n) is found again', async () => {
    await run('create table fixed (id char(9), flags bit(5), secret text, primary key (id, flags))');
    await run(`insert into fixed values ('one', B'10101', $1), ('one', B'10111', $2)`, [
      sealed('PLAIN-1'),
      sealed('PLAIN-2'),
    ]);
    await thereAndBack();
    expect(await database.improve(upgrade, fence, silent, never)).toMatchObject({ missed: 0 });
    expect((await run('select count(*) from fixed where secret like $1', ['v2:gcm:%'])).count).toBe('2');
  });
});

test('a value that a unique index holds beside its key names no row, and is carried over', async () => {
  await run(
    'create table covered (id int, secret text, document json, primary key (id) include (secret, document))',
  );
  await run('insert into covered values (1, $1, $2)', [
    sealed('PLAIN-covered'),
    JSON.stringify({ a: sealed('PLAIN-document') }),
  ]);
  expect(await database.stage(transition, fence, silent, never)).toMatchObject({ values: 145 });
  await thereAndBack();
});

test('a value in a domain is carried over, be it over another domain, over an array, or in one', async () => {
  await lab.client
    .query(`create domain word as text; create domain secret as word; create domain words as text[];
    create domain secrets as words; create domain document as jsonb; create domain settings as document;
    create table domains (id int primary key, a secret, b secret[], c secrets, d settings, e settings[])`);
  const json = (plaintext: string) => JSON.stringify({ x: sealed(plaintext) });
  await run('insert into domains values (1, $1, $2, $3, $4, $5::jsonb[]::settings[])', [
    sealed('PLAIN-a'),
    [sealed('PLAIN-b')],
    [sealed('PLAIN-c')],
    json('PLAIN-d'),
    [json('PLAIN-e')],
  ]);
  expect(await database.stage(transition, fence, silent, never)).toMatchObject({ values: 148 });
  await thereAndBack();
});

describe('a nondeterministic collation, under which Postgres matches no pattern', () => {
  beforeEach(() =>
    run(`create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`),
  );

  test('values in such a column are carried over, and upgraded in place', async () => {
    await run(
      'create table folding (id int primary key, secret text collate folded, list text[] collate folded)',
    );
    await run('insert into folding values (1, $1, $2)', [sealed('PLAIN-text'), [sealed('PLAIN-element')]]);
    await thereAndBack();
    expect(await database.improve(upgrade, fence, silent, never)).toMatchObject({ missed: 0 });
    expect((await run('select secret collate "C" like $1 as found from folding', ['v2:gcm:%'])).found).toBe(
      true,
    );
  });

  test('a row whose key is such a column is found again', async () => {
    await run('create table folding (id text collate folded primary key, secret text)');
    await run('insert into folding values ($1, $2)', ['One', sealed('PLAIN-1')]);
    await thereAndBack();
  });

  test('ids that clients hold are counted in such a column', async () => {
    await run('alter table "LiteLLM_SpendLogs" alter request_id type text collate folded');
    const { lines } = await database.inventory([previous], masterKey.from, silent, never);
    expect(lines).toContainEqual(expect.objectContaining({ table: 'LiteLLM_SpendLogs', values: 1 }));
  });

  test('a cell that differs in case alone is not taken for the one that was staged', async () => {
    await run('create table folding (id int primary key, secret text collate folded)');
    const value = sealed('PLAIN-text');
    await run('insert into folding values (1, $1)', [value]);
    await database.stage(transition, fence, silent, never);
    await run('update folding set secret = $1', [value.toLowerCase()]);
    await database.swap(transition, masterKey, fence, silent);
    expect((await run('select secret from folding')).secret).toBe(value.toLowerCase());
  });
});
