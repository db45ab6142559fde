import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MockActivityEnvironment } from '@temporalio/testing';
import { expect, onTestFinished, test } from 'vitest';
import type { Ports } from '../../src/activities/ports.ts';
import { createRehearsalActivities } from '../../src/activities/rehearsal.ts';
import { createProxy } from '../../src/litellm/proxy.ts';
import { createRedactor } from '../../src/rotation/redaction.ts';
import { Secret } from '../../src/rotation/secret.ts';

const [previous, pending] = ['sk-previous', 'sk-pending'];

test('whoever took the port of the spare LiteLLM is not sent the key that is in force', async () => {
  const sent = new Set<string>();
  const anybody = createServer(({ headers }, response) => {
    // The first key that it sees is the one that it says to have.
    if (headers.authorization !== undefined) sent.add(headers.authorization);
    const [first] = sent;
    response.statusCode = headers.authorization === undefined || headers.authorization === first ? 200 : 401;
    response.setHeader('content-type', 'application/json').end('{"db":"connected","data":[]}');
  });
  onTestFinished(() => void anybody.close());
  await new Promise<void>((resolve) => anybody.listen(0, '127.0.0.1', resolve));
  const spare = {
    proxy: createProxy({ url: `http://127.0.0.1:${(anybody.address() as AddressInfo).port}` }),
    ended: () => undefined,
    decryptionErrors: () => 0,
    lastLines: () => [],
    stop: () => Promise.resolve(),
  };
  const target = {
    rehearsal: {
      readyTimeoutMs: 5_000,
      quieten: () => Promise.resolve(),
      boot: () => Promise.resolve(spare),
      sessions: () => Promise.resolve(1),
    },
    store: {
      generations: () =>
        Promise.resolve({
          previous: { master: new Secret(previous), salt: undefined },
          pending: { master: new Secret(pending), salt: undefined },
        }),
    },
    canary: { host: '127.0.0.1', port: 0, url: undefined },
    timing: { observeMs: 1 },
  };
  const ports = { target: () => target, createRedactor } as unknown as Ports;
  const job = { target: 'prod', rotation: 'r-1', models: 0, modelsDigest: '', tolerate: false };
  const activities = createRehearsalActivities(ports);
  await expect(new MockActivityEnvironment().run(() => activities.proveClone(job))).rejects.toMatchObject({
    type: 'WrongKey',
  });
  // The pending key goes to nobody else, and is destroyed with the rehearsal that has failed.
  expect(sent).toContain(`Bearer ${pending}`);
  expect(sent).not.toContain(`Bearer ${previous}`);
});
