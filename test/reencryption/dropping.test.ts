import { fileURLToPath } from 'node:url';
import { Client } from 'pg';
import { describe, expect, onTestFinished, test } from 'vitest';
import { onPath } from '../../lab/child.ts';
import { runSqlFile } from '../psql.ts';
import { begin, masterKey, never, silent, stagedRows, transition } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();

/** A rotation that is cut over, with an image of the master key's row. */
async function cutOver() {
  await lab.client.query('insert into "LiteLLM_VerificationToken" (token) values ($1)', [
    masterKey.from.reveal(),
  ]);
  const database = lab.rotationDatabase({ lockTimeoutMs: 300 });
  const fence = await begin(database);
  await database.stage(transition, fence, silent, never);
  await database.swap(transition, masterKey, fence, silent);
  return { database, fence };
}

const images = async () => (await lab.run('select count(*) from litellm_rotate.token_image')).count;

test('the before-images of a rotation are dropped, and those of another that were left stay', async () => {
  const { database, fence } = await cutOver();
  await lab.client.query(`
    insert into litellm_rotate.rotation (rotation) values ('r-other');
    with other as (
      insert into litellm_rotate.staged_relation (rotation, relation, relation_oids, columns, key, keys, horizon, rows)
      values ('r-other', 't', '{}', '{}', '{}', '', 0, 1) returning id
    )
    insert into litellm_rotate.staged select id, '{1}', '{a}', '{b}', 1 from other`);
  expect((await stagedRows(lab.client)).length).toBeGreaterThan(50);
  await database.dropStaged(fence, 'pending');
  expect(await stagedRows(lab.client)).toHaveLength(1);
  expect(await images()).toBe('0');
  expect(await database.observe('r-1')).toEqual({ side: 'pending', staged: 0 });
});

describe('while a backup runs, which holds every table for as long as it takes', () => {
  /** As pg_dump does. */
  async function backUp() {
    const backup = new Client({ connectionString: lab.url });
    await backup.connect();
    onTestFinished(() => backup.end());
    await backup.query('begin isolation level repeatable read read only');
    expect((await stagedRows(backup)).length).toBeGreaterThan(50);
    await backup.query('lock table litellm_rotate.token_image in access share mode');
    return backup;
  }

  test.for(['pending', 'previous'] as const)('before-images are dropped on the %s side', async (side) => {
    const { database, fence } = await cutOver();
    if (side === 'previous') await database.restore(transition, masterKey, fence, silent);
    const backup = await backUp();
    await database.dropStaged(fence, side);
    expect(await stagedRows(lab.client)).toEqual([]);
    expect(await images()).toBe('0');
    expect(await database.observe('r-1')).toEqual({ side, staged: 0 });
    expect((await stagedRows(backup)).length).toBeGreaterThan(50);
  });

  test.skipIf(onPath('psql') === undefined)('docs/recovery/close.sql closes the books', async () => {
    await cutOver();
    await backUp();
    const file = fileURLToPath(new URL('../../docs/recovery/close.sql', import.meta.url));
    const flags = ['--set=ON_ERROR_STOP=1'];
    expect(await runSqlFile(new URL(lab.url), file, { flags })).toMatchObject({ exitCode: 0 });
    expect(await stagedRows(lab.client)).toEqual([]);
    expect(await images()).toBe('0');
  });
});

test('without a backup nothing of the before-images is left in the files of the database', async () => {
  const { database, fence } = await cutOver();
  await database.dropStaged(fence, 'pending');
  const { bytes } = await lab.run(
    `select pg_relation_size('litellm_rotate.staged') + pg_relation_size('litellm_rotate.token_image') as bytes`,
  );
  expect(bytes).toBe('0');
});
