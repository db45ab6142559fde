import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, test } from 'vitest';
import { onPath } from '../../lab/child.ts';
import { runSqlFile } from '../psql.ts';
import {
  begin,
  beforeSalt,
  dump,
  failure,
  masterKey,
  never,
  previous,
  sealed,
  silent,
  transition,
} from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const hasPsql = onPath('psql') !== undefined;
const known = [previous, beforeSalt];

describe('in a database with a publication FOR ALL TABLES', () => {
  const lab = useTestDatabase();
  beforeEach(() => lab.client.query('create publication everything for all tables'));

  async function cutOver() {
    const database = lab.rotationDatabase();
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    return { database, fence };
  }

  test('the plan warns of the journal among what is published', async () => {
    expect(await lab.rotationDatabase().inspect()).toMatchObject([
      {
        severity: 'warning',
        code: 'journal-published',
        found: expect.stringContaining('everything') as string,
      },
    ]);
  });

  test('a rotation goes back, and what was staged is dropped', async () => {
    await lab.client.query('insert into "LiteLLM_VerificationToken" (token) values ($1)', [
      masterKey.from.reveal(),
    ]);
    const before = await dump(lab.client);
    const { database, fence } = await cutOver();
    expect(await dump(lab.client)).not.toEqual(before);
    await database.restore(transition, masterKey, fence, silent);
    expect(await dump(lab.client)).toEqual(before);
    await database.dropStaged(fence, 'previous');
    await database.releaseLease(fence);
  });

  test('a rotation finishes, and the before-images are dropped', async () => {
    const { database, fence } = await cutOver();
    await database.dropStaged(fence, 'pending');
    expect(await database.observe('r-1')).toEqual({ side: 'pending', staged: 0 });
    await database.releaseLease(fence);
  });

  test.skipIf(!hasPsql).each(['go-back', 'close'])('docs/recovery/%s.sql runs', async (name) => {
    await cutOver();
    const file = fileURLToPath(new URL(`../../docs/recovery/${name}.sql`, import.meta.url));
    const flags = ['--set=ON_ERROR_STOP=1'];
    expect(await runSqlFile(new URL(lab.url), file, { flags })).toMatchObject({ exitCode: 0 });
  });

  test('a table with values whose rows it cannot name blocks the plan, and one without values does not', async () => {
    await lab.client.query(`alter table "LiteLLM_CredentialsTable" replica identity nothing;
      alter table "LiteLLM_SSOIdentityAssertion" replica identity full;
      create table "Unique" (id int not null unique, value jsonb); create table "Empty" (value jsonb)`);
    await lab.client.query('insert into "Unique" values (1, $1)', [{ a: sealed('PLAIN-unique') }]);
    const database = lab.rotationDatabase();
    const findings = async () =>
      (await database.inventory(known, masterKey.from, silent, never)).findings.map(
        ({ severity, code, where }) => `${severity} ${code}: ${where}`,
      );
    expect(await findings()).toEqual([
      'blocking no-replica-identity: table LiteLLM_CredentialsTable',
      'blocking no-replica-identity: table Unique',
    ]);
    await lab.client.query(`alter publication everything set (publish = 'insert, delete')`);
    expect(await findings()).toEqual([]);
  });

  test('a table whose rows it cannot name since the plan fails the swap with what to do, and nothing changes', async () => {
    const database = lab.rotationDatabase();
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await lab.client.query('alter table "LiteLLM_CredentialsTable" replica identity nothing');
    const before = await dump(lab.client);
    const error = await failure(database.swap(transition, masterKey, fence, silent));
    expect(error).toMatchObject({ type: 'DatabaseFailed', facts: { sqlState: '55000' } });
    expect(error.message).toMatch(/55000 object_not_in_prerequisite_state.*replica identity/);
    expect(await dump(lab.client)).toEqual(before);
  });
});
