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
const stage = () => database.stage(transition, fence, silent, never);
const swap = () => database.swap(transition, masterKey, fence, silent);
const restore = () => database.restore(transition, masterKey, fence, silent);
const underPending = async () => (await database.count(previous, [pending], silent, never)).underOthers;

const underPrevious = async () =>
  (await database.count(pending, [previous, beforeSalt], silent, never)).underOthers;
const assertion = async () =>
  (await run('select assertion_b64 from "LiteLLM_SSOIdentityAssertion"'))['assertion_b64'] ?? '';

async function dropAndAddAgain(): Promise<void> {
  await run('alter table "LiteLLM_MCPServerTable" drop column env');
  await run('alter table "LiteLLM_MCPServerTable" add column env jsonb');
}
const isEmpty = async () =>
  (await run('select every(env is null) as empty from "LiteLLM_MCPServerTable"'))['empty'];

/** What LiteLLM's migrations, or a person, may do to its tables while a rotation is under way. */
describe('a schema that changes before the swap', () => {
  test('leaves nothing of a renamed column under a previous key', async () => {
    await stage();
    await run('alter table "LiteLLM_MCPServerTable" rename column env to environment');
    await stage();
    expect(await swap()).toMatchObject({ lateValues: 0 });
    expect(await underPrevious()).toBe(0);
  });

  test('carries over what was in a unique index, and so named rows, when its row was staged', async () => {
    await run('alter table "LiteLLM_MCPServerTable" add constraint by_env unique (env)');
    await stage();
    await run('alter table "LiteLLM_MCPServerTable" drop constraint by_env');
    await stage();
    expect(await swap()).toMatchObject({ lateValues: 0 });
    expect(await underPrevious()).toBe(0);
  });

  test('does not bring back a column that was dropped and added again', async () => {
    await stage();
    await dropAndAddAgain();
    await swap();
    expect(await isEmpty()).toBe(true);
  });

  test('overwrites nothing of a table that has taken the place of another', async () => {
    await run('create table other (like "LiteLLM_SSOIdentityAssertion" including all)');
    await run('insert into other values ($1, $2)', ['user-1', sealed('PLAIN-other')]);
    await stage();
    await run('drop table "LiteLLM_SSOIdentityAssertion"');
    await run('alter table other rename to "LiteLLM_SSOIdentityAssertion"');
    await stage();
    await swap();
    expect(opened(await assertion(), pending)).toBe('PLAIN-other');
  });
});

describe('a schema that changes after the swap', () => {
  test.each([
    'alter table "LiteLLM_MCPServerTable" rename column env to environment',
    'alter table "LiteLLM_MCPServerTable" rename to "LiteLLM_MCPServers"',
  ])('leaves nothing under the pending key on the way back: %s', async (change) => {
    await stage();
    await swap();
    await run(change);
    await restore();
    expect(await underPending()).toBe(0);
  });

  test('gets the bytes of a renamed column back', async () => {
    const before = await dump(lab.client);
    await stage();
    await swap();
    await run('alter table "LiteLLM_MCPServerTable" rename column env to environment');
    await restore();
    expect(await dump(lab.client)).toEqual(before);
  });

  test('does not bring back a column that was dropped and added again', async () => {
    await stage();
    await swap();
    await dropAndAddAgain();
    await restore();
    expect(await isEmpty()).toBe(true);
  });
});

describe('a column that names rows only since it was staged', () => {
  const table = '"LiteLLM_SSOIdentityAssertion"';
  const refers =
    'create table refers (assertion text references "LiteLLM_SSOIdentityAssertion" (assertion_b64))';
  const index = `alter table ${table} add unique (assertion_b64)`;

  test.each([
    { how: 'a unique index', change: [index], again: false },
    { how: 'a unique index', change: [index], again: true },
    { how: 'a reference to it', change: [index, refers], again: true },
  ])('is carried over, and goes back: $how (another stage: $again)', async ({ change, again }) => {
    const before = await dump(lab.client);
    const staged = await stage();
    for (const statement of change) await run(statement);
    if (again) expect(await stage()).toEqual(staged);
    expect(await swap()).toMatchObject(staged);
    expect(opened(await assertion(), pending)).toContain('PLAIN-assertion');
    await restore();
    expect(await dump(lab.client)).toMatchObject(before);
  });

  test('is carried over when it was indexed between preflight and stage', async () => {
    const inventory = await database.inventory([previous, beforeSalt], masterKey.from, silent, never);
    await database.record(fence, 'plan', { database: inventory });
    await run(index);
    expect(await stage()).toMatchObject({ values: inventory.values });
    await swap();
    expect(opened(await assertion(), pending)).toContain('PLAIN-assertion');
  });

  test('goes back when it was indexed after the swap', async () => {
    const before = await dump(lab.client);
    await stage();
    await swap();
    await run(index);
    await restore();
    expect(await dump(lab.client)).toEqual(before);
  });

  test.each([{ again: true }, { again: false }])(
    'is refused by name when it has become the key (another stage: $again)',
    async ({ again }) => {
      await stage();
      const before = await dump(lab.client);
      await run(`alter table ${table} drop constraint "LiteLLM_SSOIdentityAssertion_pkey"`);
      await run(`alter table ${table} add primary key (assertion_b64)`);
      await expect(again ? stage() : swap()).rejects.toMatchObject({
        type: 'Refused',
        message: expect.stringMatching(/LiteLLM_SSOIdentityAssertion\.assertion_b64.*primary key/),
      });
      expect(await dump(lab.client)).toEqual(before);
    },
  );
});

describe('another primary key', () => {
  async function keyBy(table: string, column: string): Promise<void> {
    await run(`alter table "${table}" drop constraint "${table}_pkey"`);
    await run(`alter table "${table}" add primary key (${column})`);
  }

  beforeEach(() =>
    run('alter table "LiteLLM_SSOIdentityAssertion" add column tenant uuid default gen_random_uuid()'),
  );

  test.each([{ again: true }, { again: false }])(
    'before the swap loses no value (another stage: $again)',
    async ({ again }) => {
      await stage();
      await keyBy('LiteLLM_SSOIdentityAssertion', 'tenant');
      if (again) await stage();
      await swap();
      expect(await underPrevious()).toBe(0);
      expect(opened(await assertion(), pending)).toContain('PLAIN-assertion');
    },
  );

  test('after the swap loses no value on the way back', async () => {
    await stage();
    await swap();
    await keyBy('LiteLLM_SSOIdentityAssertion', 'tenant');
    await restore();
    expect(await underPending()).toBe(0);
    expect(opened(await assertion(), previous)).toContain('PLAIN-assertion');
  });

  test("does not give a row another row's value, though its keys are theirs", async () => {
    await run('create table crossed (a int primary key, b int not null, secret text)');
    await run('insert into crossed values (1, 2, $1), (2, 1, $2)', [sealed('PLAIN-1'), sealed('PLAIN-2')]);
    const first = async () => (await run('select secret from crossed where a = 1'))['secret'] ?? '';
    await stage();
    await keyBy('crossed', 'b');
    await swap();
    expect(opened(await first(), pending)).toBe('PLAIN-1');
    await keyBy('crossed', 'a');
    await restore();
    expect(opened(await first(), previous)).toBe('PLAIN-1');
  });
});

describe('a table that is excluded by the configuration in the middle', () => {
  const excluding = () => lab.rotationDatabase({ extraSkippedTables: ['LiteLLM_MCPServerTable'] });

  test('of stage and swap is carried over, as the plan says', async () => {
    const staged = await stage();
    expect(await excluding().swap(transition, masterKey, fence, silent)).toMatchObject(staged);
    expect(await underPrevious()).toBe(0);
  });

  test('of swap and restore goes back with the others', async () => {
    const before = await dump(lab.client);
    await stage();
    await swap();
    await excluding().restore(transition, masterKey, fence, silent);
    expect(await dump(lab.client)).toEqual(before);
  });
});

describe('a partition that is attached or detached', () => {
  beforeEach(async () => {
    await run('create table parts (id int primary key, secret text) partition by range (id)');
    await run('create table parts_1 partition of parts for values from (0) to (100)');
    await run('create table parts_2 (id int primary key, secret text)');
    await run('insert into parts values (1, $1)', [sealed('PLAIN-part-1')]);
    await run('insert into parts_2 values (101, $1)', [sealed('PLAIN-part-2')]);
  });
  const attach = () => run('alter table parts attach partition parts_2 for values from (100) to (200)');
  const detach = () => run('alter table parts detach partition parts_2');

  test.each([{ again: true }, { again: false }])(
    'before the swap leaves nothing under a previous key (another stage: $again)',
    async ({ again }) => {
      const before = await dump(lab.client);
      await stage();
      await attach();
      if (again) await stage();
      await swap();
      expect(await underPrevious()).toBe(0);
      await restore();
      await detach();
      expect(await dump(lab.client)).toEqual(before);
    },
  );

  test.each([
    { how: 'attached', before: () => undefined, after: attach },
    { how: 'detached', before: attach, after: detach },
  ])('after the swap leaves nothing under the pending key: $how', async ({ before, after }) => {
    await before();
    await stage();
    await swap();
    await after();
    await restore();
    expect(await underPending()).toBe(0);
  });
});
