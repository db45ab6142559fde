import { expect, test } from 'vitest';
import { createKeyActivities } from '../../src/activities/keys.ts';
import { createServiceActivities } from '../../src/activities/service.ts';
import { createValueActivities } from '../../src/activities/values.ts';
import { signingKey } from '../../src/rotation/keys.ts';
import {
  begin,
  dump,
  never,
  opened,
  plaintexts,
  previous,
  sealed,
  silent,
} from '../reencryption/database.ts';
import { useTestDatabase } from '../reencryption/database-hooks.ts';
import { newKeys } from '../secret-stores/store-fixture.ts';
import { run, useDaemon } from './daemon.ts';

const lab = useTestDatabase();
const job = { target: 'prod', rotation: 'r-1' };

/**
 * A rotation whose key files are on the pending side, and whose database is as a standby leaves it that takes over without
 * the swap: staged, and under the previous key.
 */
async function withoutItsSwap() {
  const database = lab.rotationDatabase();
  const { target, ports, service } = await useDaemon(
    'LITELLM_MASTER_KEY=sk-master-previous\nLITELLM_SALT_KEY=salt-previous\n',
    { database, knownKeys: [] },
  );
  const { pending } = await target.store.prepare(job.rotation, await begin(database), newKeys);
  const activities = {
    ...createValueActivities(ports),
    ...createKeyActivities(ports),
    ...createServiceActivities(ports),
  };
  await run(() => activities.stageValues({ ...job, expected: 143 }));
  await run(() => activities.writeSecrets(job));
  return { activities, database, service, pending: { label: 'pending', key: signingKey(pending) } };
}

test('LiteLLM is not started on keys that the database is not under, and is once both are on one side', async () => {
  const { activities, service } = await withoutItsSwap();
  await expect(run(() => activities.startService(job))).rejects.toMatchObject({
    type: 'ChangedElsewhere',
    message: expect.stringMatching(
      /found it under the previous key of rotation r-1, and the key files with the pending one/,
    ) as string,
  });
  expect(await service.observe()).toMatchObject({ state: 'stopped' });
  await run(() => activities.restoreSecrets(job));
  await run(() => activities.startService(job));
  expect(await service.observe()).toMatchObject({ state: 'running' });
});

test('what LiteLLM stored under the pending key is under the previous one after a rollback, and the rest as it was', async () => {
  // As LiteLLM has some: rows of such a table are each read again.
  await lab.client
    .query(`create function same() returns trigger language plpgsql as $$ begin return new; end $$;
    create trigger same before update on "LiteLLM_ProxyModelTable" for each row execute function same()`);
  const { activities, database, pending } = await withoutItsSwap();
  const before = await dump(lab.client, ['LiteLLM_CredentialsTable', 'LiteLLM_ProxyModelTable']);
  const models = async () =>
    (await lab.client.query(`select m::text from "LiteLLM_ProxyModelTable" as m where model_id > 'model-2'`))
      .rows;
  const untouched = await models();
  // Added, edited beside values of before, and deleted.
  await lab.client.query(
    `insert into "LiteLLM_CredentialsTable" values ('c-new', 'new', jsonb_build_object('api_key', $1::text))`,
    [sealed('PLAIN-new', pending)],
  );
  await lab.client.query(
    `update "LiteLLM_ProxyModelTable" set litellm_params = jsonb_set(litellm_params, '{api_key}', to_jsonb($1::text)) where model_id = 'model-1'`,
    [sealed('PLAIN-edited', pending)],
  );
  await lab.client.query(`delete from "LiteLLM_ProxyModelTable" where model_id = 'model-2'`);

  await run(() => activities.restoreSecrets(job));
  expect(await run(() => activities.restoreValues({ ...job, promoted: true }))).toMatchObject({
    resealedValues: 2,
  });
  expect(await plaintexts(lab.client, [pending])).toEqual([]);
  const { added, edited, beside } = await lab.run(`select
    (select credential_values ->> 'api_key' from "LiteLLM_CredentialsTable" where credential_id = 'c-new') as added,
    litellm_params ->> 'api_key' as edited, litellm_params #>> '{nested}' as beside
    from "LiteLLM_ProxyModelTable" where model_id = 'model-1'`);
  expect(opened(added ?? '', previous)).toBe('PLAIN-new');
  expect(opened(edited ?? '', previous)).toBe('PLAIN-edited');
  expect(beside).toBeDefined();
  expect(await models()).toEqual(untouched);
  expect(await dump(lab.client, ['LiteLLM_CredentialsTable', 'LiteLLM_ProxyModelTable'])).toEqual(before);

  await run(() => activities.dropStagedValues(job));
  await run(() => activities.discardPendingKeys(job));
  expect(await database.count(previous, [pending], silent, never)).toMatchObject({ underOthers: 0 });
});

test('a search before stage was complete leaves all of it to stage', async () => {
  const database = lab.rotationDatabase();
  const { target, ports } = await useDaemon(
    'LITELLM_MASTER_KEY=sk-master-previous\nLITELLM_SALT_KEY=salt-previous\n',
    { database, knownKeys: [] },
  );
  await target.store.prepare(job.rotation, await begin(database), newKeys);
  const activities = createValueActivities(ports);
  await run(() => activities.restoreValues({ ...job, promoted: true }));
  const { values } = await run(() => activities.stageValues({ ...job, expected: 143 }));
  expect(values).toBeGreaterThan(100);
});
