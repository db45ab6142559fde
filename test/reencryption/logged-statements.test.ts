import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { tokenForms } from '../../src/litellm/token-row.ts';
import { begin, masterKey, never, pending, previous, silent, transition } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase({ settings: { log_statement: 'all' } });

test('no key is sent to Postgres, which may log statements with their parameters', async () => {
  const database = lab.rotationDatabase();
  const { sha256 } = tokenForms(masterKey.from);
  await lab.client.query('insert into "LiteLLM_VerificationToken" (token) values ($1)', [sha256]);
  const fence = await begin(database);
  await database.inventory([previous], masterKey.from, silent, never);
  await database.stage(transition, fence, silent, never);
  expect(await database.swap(transition, masterKey, fence, silent)).toMatchObject({ tokenRow: 'sha256' });
  await database.restore(transition, masterKey, fence, silent);

  const log = await readFile(lab.server.log, 'utf8');
  expect(log).toContain(`'${sha256}'`);
  const keys = [masterKey.from, masterKey.to, previous.key, pending.key].map((key) => key.reveal());
  expect(keys.filter((key) => log.includes(key))).toEqual([]);
});
