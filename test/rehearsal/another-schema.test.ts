import { escapeIdentifier } from 'pg';
import { expect, test } from 'vitest';
import { withClient } from '../../lab/postgres.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { begin, beforeSalt, dump, never, previous, silent } from '../reencryption/database.ts';
import { useTestDatabase } from '../reencryption/database-hooks.ts';
import { cannotDump } from './dump-programs.ts';
import { fenceOf, rehearsalOf } from './rehearsal-of.ts';

const why = await cannotDump();
if (why !== undefined) console.log(`no clone is made by dump: ${why}`);

const lab = useTestDatabase();

test.for(['dump', 'template'] as const)(
  'a clone by %s holds the schema that the connection string names, and is rotated in it',
  async (method, { skip }) => {
    skip(method === 'dump' && why !== undefined, why);
    const schema = 'the "proxy"';
    const before = await dump(lab.client, ['LiteLLM_SpendLogs']);
    await lab.client.query(`alter schema public rename to ${escapeIdentifier(schema)}; create schema public`);
    if (method === 'template') await lab.client.end(); // nobody else may be connected to one
    const url = new URL(lab.url);
    url.searchParams.set('schema', schema);
    const rehearsal = rehearsalOf(url.href, { clone: method });
    expect(await rehearsal.clone(fenceOf('r1'), never)).toBe(method);

    const clone = rehearsal.open('r1');
    await begin(clone);
    const { values } = await clone.inventory([previous, beforeSalt], new Secret('sk-none'), silent, never);
    expect(values).toBe(143);
    await clone.close();
    await withClient(lab.server.url('litellm_rotate_rehearsal_r1'), async (client) => {
      await client.query(
        `drop schema public cascade; alter schema ${escapeIdentifier(schema)} rename to public`,
      );
      expect(await dump(client, ['LiteLLM_SpendLogs'])).toEqual(before);
    });
    expect(await rehearsal.destroy('r1')).toEqual({ destroyed: true });
    await rehearsal.close();
  },
);
