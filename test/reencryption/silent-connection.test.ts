import { connect, createServer, type AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Secret } from '../../src/rotation/secret.ts';
import { begin, dump, failure, masterKey, never, silent, transition } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();

/**
 * A way to the database that goes silent when the text passes, in both directions and for good, without an end: as for
 * a server that has vanished behind a proxy.
 */
async function silencedBy(text: string): Promise<string> {
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer((client) => {
    const upstream = connect(lab.server.port, lab.server.host);
    let gone = false;
    client.on('data', (chunk) => {
      upstream.write(chunk);
      gone ||= chunk.includes(text);
    });
    upstream.on('data', (chunk) => void (gone || client.write(chunk)));
    for (const socket of [client, upstream]) sockets.add(socket.on('error', () => undefined));
    upstream.on('close', () => void (gone || client.destroy()));
    client.on('close', () => void (gone || upstream.destroy()));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, lab.server.host, resolve);
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const url = new URL(lab.url);
  url.port = `${(server.address() as AddressInfo).port}`;
  return url.href;
}

test('a database that falls silent in the middle of the swap fails it, and the next attempt takes over', async () => {
  const fence = await begin(lab.rotationDatabase());
  await lab.rotationDatabase().stage(transition, fence, silent, never);
  const before = await dump(lab.client);
  const url = await silencedBy('share row exclusive');
  const database = lab.rotationDatabase({ connectionString: new Secret(url), statementTimeoutMs: 500 });

  const error = await failure(database.swap(transition, masterKey, fence, silent));
  expect(error).toMatchObject({ type: 'DatabaseFailed', facts: { code: 'CONNECTION_LOST' } });
  expect(error.message).toContain('swapping the values');
  expect(await dump(lab.client)).toEqual(before);

  const next = lab.rotationDatabase();
  expect(await next.swap(transition, masterKey, await next.fence('r-1'), silent)).toMatchObject({
    values: 143,
  });
});

test('a database that falls silent at the commit fails the swap, and the next attempt finds it done', async () => {
  const fence = await begin(lab.rotationDatabase());
  await lab.rotationDatabase().stage(transition, fence, silent, never);
  const url = await silencedBy('commit\0');
  const database = lab.rotationDatabase({ connectionString: new Secret(url), statementTimeoutMs: 500 });

  expect(await failure(database.swap(transition, masterKey, fence, silent))).toMatchObject({
    type: 'DatabaseFailed',
  });
  const next = lab.rotationDatabase();
  const token = await next.fence('r-1');
  expect(await next.observe('r-1')).toMatchObject({ side: 'pending' });
  expect(await next.swap(transition, masterKey, token, silent)).toMatchObject({ values: 143 });
});
