import { createServer, connect, type AddressInfo, type Server } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, describe, expect, test } from 'vitest';
import { root } from './project.ts';

let server: Server | undefined;
afterEach(() => server?.close());

async function listen(): Promise<number> {
  server = createServer((socket) => socket.on('error', () => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** The exit code of the container's health check. */
async function probe(address: string): Promise<number | undefined> {
  const env = { PATH: process.env['PATH'] ?? '', TEMPORAL_ADDRESS: address };
  const { exitCode } = await execa(join(root, 'packaging/worker-connected.sh'), {
    env,
    extendEnv: false,
    reject: false,
  });
  return exitCode;
}

describe.skipIf(process.platform !== 'linux')("the health check of the worker's container", () => {
  test('succeeds while a connection to Temporal stands, and fails when it has ended', async () => {
    const port = await listen();
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    expect(await probe(`temporal:${port}`)).toBe(0);
    socket.destroy();
    server?.close();
    await once(server as Server, 'close');
    expect(await probe(`temporal:${port}`)).not.toBe(0);
  });

  test('fails for a server that listens here and that nobody is connected to', async () => {
    const port = await listen();
    expect(await probe(`127.0.0.1:${port}`)).not.toBe(0);
  });

  test('fails for an address without a port', async () => {
    expect(await probe('temporal')).not.toBe(0);
  });
});
