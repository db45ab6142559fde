import { connect, createServer, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';

/**
 * A TCP relay that makes a distant server of a near one, as a process of its own:
 *
 *   node bench/relay.ts PORT MILLISECONDS
 *
 * Prints its own port. Every byte from the server arrives `MILLISECONDS` late; the way there is not delayed. For whoever
 * waits for answers that is the same as half of it each way, and it takes one inexact timer instead of two. Delayed
 * chunks travel beside each other: the relay takes no bandwidth away.
 */
const [port, delayMs] = process.argv.slice(2).map(Number);
if (port === undefined || delayMs === undefined) throw new Error('usage: relay.ts PORT MILLISECONDS');

function delayed(from: Socket, to: Socket, ms: number): void {
  const waiting: { readonly due: number; readonly chunk: Buffer }[] = [];
  let armed = false;
  const flush = (): void => {
    armed = false;
    while (waiting[0] !== undefined && waiting[0].due <= performance.now() + 0.25) {
      to.write((waiting.shift() as { chunk: Buffer }).chunk);
    }
    arm();
  };
  const arm = (): void => {
    if (armed || waiting[0] === undefined) return;
    armed = true;
    setTimeout(flush, Math.max(1, Math.floor(waiting[0].due - performance.now())));
  };
  from.on('data', (chunk: Buffer) => {
    waiting.push({ due: performance.now() + ms, chunk });
    arm();
  });
}

const server = createServer({ noDelay: true }, (client) => {
  const upstream = connect({ host: '127.0.0.1', port, noDelay: true });
  client.on('data', (chunk) => upstream.write(chunk));
  delayed(upstream, client, delayMs);
  const end = (): void => {
    client.destroy();
    upstream.destroy();
  };
  for (const socket of [client, upstream]) socket.on('close', end).on('error', end);
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object' && address !== null) console.log(address.port);
});
// Whoever started it holds its stdin.
process.stdin.resume().on('end', () => process.exit());
