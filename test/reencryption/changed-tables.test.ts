import { beforeEach, describe, expect, test } from 'vitest';
import type { Fence } from '../../src/rotation/fence.ts';
import type { RotationDatabase } from '../../src/reencryption/port.ts';
import { begin, masterKey, never, pending, previous, silent, transition } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();
let database: RotationDatabase;
let fence: Fence;

beforeEach(async () => {
  database = lab.rotationDatabase();
  fence = await begin(database);
});

const run = async (sql: string, values: unknown[] = []): Promise<Record<string, string>> =>
  (await lab.client.query(sql, values)).rows[0];
const stage = () => database.stage(transition, fence, silent, never);
const swap = () => database.swap(transition, masterKey, fence, silent);
const restore = () => database.restore(transition, masterKey, fence, silent);
const underPending = async () => (await database.count(previous, [pending], silent)).underOthers;

/** What LiteLLM's migrations may do to its tables while a rotation is under way. */
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
});
