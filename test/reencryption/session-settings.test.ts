import { escapeIdentifier } from 'pg';
import { expect, test } from 'vitest';
import {
  begin,
  beforeSalt,
  dump,
  masterKey,
  never,
  pending,
  previous,
  sealed,
  silent,
  transition,
  upgrade,
} from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();

/** What a database, or a role, may set for its sessions, and by which a text is read or written otherwise. */
const settings = {
  array_nulls: 'off',
  bytea_output: 'escape',
  client_encoding: 'LATIN1',
  datestyle: 'SQL, DMY',
  default_transaction_isolation: 'serializable',
  extra_float_digits: '-15',
  intervalstyle: 'sql_standard',
  quote_all_identifiers: 'on',
  search_path: 'pg_catalog',
  standard_conforming_strings: 'off',
  timezone: '"Asia/Kolkata"',
  transform_null_equals: 'on',
};

test('values and keys of every kind are carried over and back, whatever the database sets for its sessions', async () => {
  await lab.client.query(
    `create table keyed (a timestamptz, b timestamp, c interval, d double precision, e real, f bytea, g date, secret text,
         list text[], primary key (a, b, c, d, e, f, g))`,
  );
  await lab.client.query(
    `insert into keyed values ('2026-03-29 02:30:00.123456+02', '2026-10-25 01:30', '-1 day 03:04:05.678', 1 / 3.0::float8,
         1 / 3.0::real, '\\x00ff5c27', '2026-02-01', $1, $2)`,
    [sealed('PLAIN-é'), ['one', null, sealed('PLAIN-element'), 'NULL']],
  );
  const name = escapeIdentifier(new URL(lab.url).pathname.slice(1));
  for (const [setting, value] of Object.entries(settings))
    await lab.client.query(`alter database ${name} set ${setting} = ${value}`);
  const database = lab.rotationDatabase();
  const fence = await begin(database);
  const before = await dump(lab.client);
  await database.stage(transition, fence, silent, never);
  await database.swap(transition, masterKey, fence, silent);
  expect(await database.count(pending, [previous, beforeSalt], silent, never)).toMatchObject({
    underExpected: 145,
    underOthers: 0,
  });
  await database.restore(transition, masterKey, fence, silent);
  expect(await dump(lab.client)).toEqual(before);
  expect(await database.improve(upgrade, fence, silent, never)).toMatchObject({ missed: 0 });
});
