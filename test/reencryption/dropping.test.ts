import { expect, test } from 'vitest';
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
