// Runs in namespaces of its own, whose only name server takes questions and never answers. Prints what a look at `litellm`
// saw before the resolver gave up, or that it came later.
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { createProxy } from '../../src/litellm/proxy.ts';

const nameServer = createSocket('udp4').bind(53, '127.0.0.1');
await once(nameServer, 'listening');
const nameLeadsTo = (address: string | undefined) =>
  writeFile('/etc/hosts', address === undefined ? '' : `${address} litellm\n`);
const listen = async (address: string): Promise<Server> => {
  const server = createServer((socket) => socket.end()).listen(4000, address);
  await once(server, 'listening');
  return server;
};
const resolver = () =>
  lookup('litellm').then(
    () => 'found',
    () => 'the resolver gave up first',
  );

await nameLeadsTo('127.0.0.2');
const server = await listen('127.0.0.2');
const proxy = createProxy({ url: 'http://litellm:4000' });
await proxy.locate();
await nameLeadsTo(undefined);

const cases: Readonly<Record<string, () => Promise<unknown>>> = {
  running: () => Promise.race([proxy.isListening(), resolver()]),
  stopped: () => {
    server.close();
    return Promise.race([proxy.isListening(), resolver()]);
  },
  moved: async () => {
    server.close();
    const before = await proxy.isListening();
    await nameLeadsTo('127.0.0.3');
    await listen('127.0.0.3');
    return [before, await proxy.isListening()];
  },
};
process.stdout.write(JSON.stringify(await cases[process.argv[2] ?? '']?.()));
process.exit(0); // a question is still open
