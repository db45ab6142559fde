import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { createProxy } from '../../src/litellm/proxy.ts';
import { Secret } from '../../src/rotation/secret.ts';

const key = new Secret('sk-the-master-key');
const open: Server[] = [];
afterEach(() => {
  for (const server of open.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

/** A server in the proxy's place that misbehaves as told; what a sound one does is in proxy-litellm.test.ts. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    answer(request, response);
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Everything that an error could carry into a history: message, facts, stack, cause. */
function all(error: unknown): string {
  const { message, stack, cause, facts } = error as Error & { facts?: unknown };
  return [message, stack, JSON.stringify(facts), String(cause), JSON.stringify(cause)].join('\n');
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => expect.fail('expected a failure'),
    (error: Error) => error,
  );
}

test('an answer that echoes the key stays out of the error', async () => {
  const url = await serve((request, response) => {
    const { authorization } = request.headers;
    response.writeHead(401, { 'content-type': 'application/json', 'x-echo': authorization });
    response.end(
      JSON.stringify({ error: { message: `got ${authorization}`, type: 'token_not_found_in_db' } }),
    );
  });
  const error = await failure(createProxy({ url }).models(key));
  expect(error).toMatchObject({
    name: 'RotationError',
    type: 'WrongKey',
    message: `${url}: GET /v1/models answered 401 (token_not_found_in_db), expected 200; the proxy does not know the key`,
  });
  expect(all(error)).not.toContain('sk-the');
});

test('an error type that is more than a word stays out, too', async () => {
  const url = await serve((_request, response) => {
    response.writeHead(500).end(JSON.stringify({ error: { type: 'bad key sk-the-master-key' } }));
  });
  const error = await failure(createProxy({ url }).models(key));
  expect(error).toMatchObject({ type: 'ProxyFailed' });
  expect(error.message).toContain('answered 500, expected 200');
  expect(all(error)).not.toContain('sk-the');
});

test('the key does not follow a redirect to another host', async () => {
  const seen: (string | undefined)[] = [];
  const elsewhere = await serve((request, response) => {
    seen.push(request.headers.authorization);
    response.end('{"data":[]}');
  });
  const url = await serve((_request, response) => {
    response.writeHead(307, { location: `${elsewhere}/v1/models` }).end();
  });
  await expect(createProxy({ url }).models(key)).rejects.toMatchObject({ type: 'ProxyFailed' });
  expect(await createProxy({ url }).tryKey(key)).toEqual({ status: 307 });
  expect(seen).toEqual([]);
});

test('a proxy that never answers is given up in time', async () => {
  const url = await serve(() => {});
  const error = await failure(createProxy({ url, timeoutMs: 100 }).models(key));
  expect(error).toMatchObject({ type: 'ProxyFailed' });
  expect(error.message).toContain('GET /v1/models got no answer (timed out)');
  expect(all(error)).not.toContain('sk-the');
  expect(await createProxy({ url, timeoutMs: 100 }).readiness()).toMatchObject({ ready: false });
  expect(await createProxy({ url, timeoutMs: 100 }).liveness()).toBe(false);
});

test('a body that never ends is given up in time', async () => {
  const url = await serve((_request, response) => void response.writeHead(200).write('{"data":['));
  await expect(createProxy({ url, timeoutMs: 100 }).models(key)).rejects.toMatchObject({
    type: 'ProxyFailed',
  });
});

test('a stopped proxy is not listening, and says so', async () => {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const proxy = createProxy({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
  expect(await proxy.isListening()).toBe(true);
  await new Promise((resolve) => server.close(resolve));
  expect(await proxy.isListening()).toBe(false);
  const error = await failure(proxy.models(key));
  expect(error.message).toContain('got no answer (ECONNREFUSED)');
  expect(error.cause).toBeUndefined();
});

test('no socket stays open after an answer', async () => {
  const sockets = new Set<unknown>();
  const url = await serve((_request, response) => void response.end('{"data":[]}'));
  open.at(-1)?.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const proxy = createProxy({ url });
  await Promise.all([proxy.models(key), proxy.models(key), proxy.tryKey(key), proxy.readiness()]);
  await expect.poll(() => sockets.size, { timeout: 1000 }).toBe(0);
});

test('a virtual key is looked up by its digest, so that no access log holds it', async () => {
  const requests: string[] = [];
  const url = await serve((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    response.end('{}');
  });
  const virtualKey = new Secret('sk-virtual');
  await createProxy({ url }).generateKey(key, { key: virtualKey, alias: 'a', models: [] });
  const digest = createHash('sha256').update('sk-virtual').digest('hex');
  expect(requests).toEqual([`GET /key/info?key=${digest}`]);
});

test('an answer that is no JSON has no models', async () => {
  const url = await serve((_request, response) => void response.end('<html>'));
  expect(await createProxy({ url }).models(key)).toEqual([]);
  expect(await createProxy({ url }).readiness()).toEqual({
    ready: false,
    detail: '200, status unknown, database unknown',
  });
});

describe('addresses', () => {
  test('keep their path and lose a trailing slash', () => {
    expect(createProxy({ url: 'https://host.invalid/litellm/' }).url).toBe('https://host.invalid/litellm');
    expect(createProxy({ url: 'http://[::1]:4000' }).url).toBe('http://[::1]:4000');
  });

  test.for([
    '',
    'host:4000',
    'ftp://host',
    'http://user:hunter2@host',
    'http://host?key=hunter2',
    'http://host#x',
  ])('that are none are refused without being printed: %s', (url) => {
    expect(() => createProxy({ url })).toThrow(expect.objectContaining({ type: 'Refused' }));
    expect(() => createProxy({ url })).not.toThrow(/hunter2/);
  });
});
