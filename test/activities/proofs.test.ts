import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { proveKeys, proveValues } from '../../src/activities/proofs.ts';
import { createProxy } from '../../src/litellm/proxy.ts';
import { failureTypes } from '../../src/rotation/failure.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { useTestDatabase } from '../reencryption/database-hooks.ts';
import { begin, masterKey, never, silent, transition } from '../reencryption/database.ts';

const [previous, pending] = ['sk-previous', 'sk-pending'];
const keys = {
  expected: { master: new Secret(pending), salt: undefined },
  other: { master: new Secret(previous), salt: undefined },
};

/** Proves the pending key to a server that answers each key as told, and any other with the last. */
async function prove(statuses: { pending: number; previous: number; other: number }): Promise<void> {
  const byKey: Readonly<Record<string, number>> = {
    [`Bearer ${pending}`]: statuses.pending,
    [`Bearer ${previous}`]: statuses.previous,
  };
  const server = createServer(({ headers }, response) => {
    response.writeHead(byKey[headers.authorization ?? ''] ?? statuses.other).end('{}');
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const proxy = createProxy({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
  await proveKeys(proxy, keys, 'pending', new AbortController().signal);
}

test('one key that is accepted and two that are refused prove a side', async () => {
  await expect(prove({ pending: 200, previous: 401, other: 401 })).resolves.toBeUndefined();
  await expect(prove({ pending: 200, previous: 403, other: 403 })).resolves.toBeUndefined();
});

test.for([
  ['the new key is refused', { pending: 401, previous: 401, other: 401 }],
  ['any key is accepted', { pending: 200, previous: 200, other: 200 }],
])('when %s, no retry mends it', async ([, statuses]) => {
  await expect(prove(statuses as Parameters<typeof prove>[0])).rejects.toMatchObject({
    type: failureTypes.wrongKey,
  });
});

test.for([
  ['the new key, which may be right', { pending: 503, previous: 401, other: 401 }],
  ['the previous key, which may still be taken', { pending: 200, previous: 503, other: 401 }],
  ['a random key', { pending: 200, previous: 401, other: 302 }],
])('an answer that is neither yes nor no to %s is asked for again', async ([, statuses]) => {
  await expect(prove(statuses as Parameters<typeof prove>[0])).rejects.toMatchObject({
    type: failureTypes.proxyFailed,
    message: expect.stringMatching(/answered (503|302) to .* expected 200 or 401/) as string,
  });
});

describe('a value under a previous key', () => {
  const lab = useTestDatabase();

  test('that a client had read before the cutover, and saves after it, is named by its table and column', async () => {
    const database = lab.rotationDatabase();
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    const { read } = await lab.run(
      `select metadata::text as read from "LiteLLM_VerificationToken" where key_alias = 'key-3'`,
    );
    const { values } = await database.swap(transition, masterKey, fence, silent);
    await expect(proveValues(database, transition, values, silent, never)).resolves.toMatchObject({ values });

    await lab.run(`update "LiteLLM_VerificationToken" set metadata = $1 where key_alias = 'key-3'`, [read]);
    await expect(proveValues(database, transition, values, silent, never)).rejects.toMatchObject({
      type: failureTypes.countMismatch,
      message: expect.stringContaining(
        'and 1 under a previous one (in LiteLLM_VerificationToken.metadata); expected',
      ) as string,
    });
  });
});
