import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type EchoEndpoint, startEchoEndpoint } from '../../src/canary/echo-endpoint.ts';
import { Secret } from '../../src/rotation/secret.ts';

const secret = new Secret('sk-provider');
let endpoint: EchoEndpoint;
beforeEach(async () => {
  endpoint = await startEchoEndpoint({ host: '127.0.0.1', port: 0 });
});
afterEach(() => endpoint.close());

function post(
  path: string,
  token: string | undefined,
  body = '{"model":"x","messages":[]}',
): Promise<Response> {
  return fetch(endpoint.url + path, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body,
  });
}

test('answers a completion, and tells which secret came, per id', async () => {
  expect(endpoint.received('one', secret)).toBe('nothing');
  const answer = await post('/one/v1/chat/completions', 'sk-provider');
  expect(answer.status).toBe(200);
  expect(await answer.json()).toMatchObject({ choices: [{ message: { role: 'assistant', content: 'ok' } }] });
  expect(endpoint.received('one', secret)).toBe('expected');
  expect(endpoint.received('one', new Secret('sk-provide'))).toBe('another');
  expect(endpoint.received('two', secret)).toBe('nothing');
  endpoint.forget('one');
  expect(endpoint.received('one', secret)).toBe('nothing');
});

test.for(['sk-other', 'sk-provider2', undefined])('takes %s for another secret', async (token) => {
  await post('/one/v1/chat/completions', token);
  expect(endpoint.received('one', secret)).toBe('another');
});

test('is not made to forget the right call by one of somebody else', async () => {
  await post('/one/v1/chat/completions', 'sk-of-a-stranger');
  await post('/one/v1/chat/completions', 'sk-provider');
  await post('/one/v1/chat/completions', 'sk-of-a-stranger');
  expect(endpoint.received('one', secret)).toBe('expected');
});

test('sends nothing of the secret back', async () => {
  const answer = await post('/one/v1/chat/completions', 'sk-provider');
  const everything = (await answer.text()) + JSON.stringify([...answer.headers]);
  expect(everything).not.toContain('sk-provider');
});

test.for([
  ['GET', '/one/v1/chat/completions'],
  ['POST', '/v1/chat/completions'],
  ['POST', '/one/v1/models'],
  ['POST', '/one/../two/v1/chat/completions/more'],
] as const)('knows no %s %s', async ([method, path]) => {
  const answer = await fetch(endpoint.url + path, {
    method,
    headers: { authorization: 'Bearer sk-provider' },
  });
  expect(answer.status).toBe(404);
  for (const id of ['one', 'two', 'v1']) expect(endpoint.received(id, secret)).toBe('nothing');
});

test('does not read a body without end', async () => {
  await expect(post('/one/v1/chat/completions', 'sk-provider', 'x'.repeat(10_000_000))).rejects.toThrow();
});

test('listens on the given address only', async () => {
  const others = Object.values(networkInterfaces())
    .flat()
    .filter((address) => address?.family === 'IPv4' && !address.internal)
    .map((address) => address?.address ?? '');
  // 127.0.0.2 is this host's, too, where the system answers for the whole of 127/8 (Linux does).
  for (const host of [...others, '127.0.0.2']) expect(await accepts(host), host).toBe(false);
  expect(await accepts('127.0.0.1')).toBe(true);
});

test('frees its port when it is closed, with a connection open', async () => {
  const socket = connect(endpoint.port, '127.0.0.1');
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.on('error', () => {});
  await endpoint.close();
  const again = await startEchoEndpoint({ host: '127.0.0.1', port: endpoint.port });
  await again.close();
  socket.destroy();
});

test.for([
  ['a port in use, which may be free in a moment', '127.0.0.1', 'EADDRINUSE', 'ProxyFailed'],
  ['an address that this host does not have', '192.0.2.1', 'EADDRNOTAVAIL', 'Refused'],
])('refuses %s, with a sentence', async ([, host = '', code, type]) => {
  await expect(startEchoEndpoint({ host, port: endpoint.port })).rejects.toMatchObject({
    name: 'RotationError',
    type,
    message: `canary endpoint: cannot listen on ${host}:${endpoint.port} (${code}); expected a free port of this host; change canary.listen in the configuration`,
  });
});

function accepts(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: endpoint.port, timeout: 2000 });
    const done = (accepted: boolean) => {
      socket.destroy();
      resolve(accepted);
    };
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
    socket.once('timeout', () => done(false));
  });
}
