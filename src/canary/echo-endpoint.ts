import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { Secret } from '../rotation/secret.ts';

export interface EchoEndpointOptions {
  /** Listens on this address only, such as `127.0.0.1`. */
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
}

/**
 * An OpenAI-compatible provider that answers every chat completion with `ok`, and remembers digests of the bearer
 * secrets that it was called with. In memory only; nothing of it is logged or sent back.
 */
export interface EchoEndpoint {
  /** Without a trailing slash. The provider of `id` is at `<url>/<id>/v1`. */
  readonly url: string;
  readonly port: number;
  /**
   * What the calls for `id` since `forget` came with: `expected` when any did. Nobody but LiteLLM can send that, and whoever
   * else reaches the endpoint must not make a rotation roll back.
   */
  received(id: string, expected: Secret): 'nothing' | 'expected' | 'another';
  forget(id: string): void;
  /** Stops listening and ends open connections. */
  close(): Promise<void>;
}

/** A body is read to its end and thrown away; nobody sends us more than this. */
const largestBody = 64 * 1024;

/** Starts the endpoint. Throws `Refused` when the address cannot be listened on, `ProxyFailed` while its port is taken. */
export async function startEchoEndpoint({ host, port }: EchoEndpointOptions): Promise<EchoEndpoint> {
  const digests = new Map<string, Set<string>>();

  const server = createServer((request, response) => {
    const id = /^\/([\w-]+)\/v1\/chat\/completions$/.exec(request.url ?? '')?.[1];
    if (request.method !== 'POST' || id === undefined)
      return end(response, 404, { error: { message: 'not found' } });
    const secret = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    digests.set(id, (digests.get(id) ?? new Set()).add(digestOf(secret)));
    drain(request, () => end(response, 200, completion()));
  });
  server.keepAliveTimeout = 1;
  server.requestTimeout = 10_000;

  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        new RotationError(
          // Another target's canary, or a connection that happens to have it, gives it back: worth another try.
          error.code === 'EADDRINUSE' ? failureTypes.proxyFailed : failureTypes.refused,
          `canary endpoint: cannot listen on ${host}:${port} (${error.code ?? error.name}); expected a free port of this host; change canary.listen in the configuration`,
        ),
      );
    });
    server.listen(port, host, resolve);
  });
  const bound = (server.address() as AddressInfo).port;

  return {
    url: `http://${reachable(host)}:${bound}`,
    port: bound,
    received(id, expected) {
      const seen = digests.get(id);
      if (seen === undefined) return 'nothing';
      return seen.has(digestOf(expected.reveal())) ? 'expected' : 'another';
    },
    forget(id) {
      digests.delete(id);
    },
    close() {
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}

function digestOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function drain(request: IncomingMessage, done: () => void): void {
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > largestBody) request.destroy();
  });
  request.once('end', done);
}

function end(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
  response.end(JSON.stringify(body));
}

function completion() {
  return {
    id: 'litellm-rotate-canary',
    object: 'chat.completion',
    created: Math.floor(Date.now() / 1000),
    model: 'litellm-rotate-canary',
    choices: [{ index: 0, message: { role: 'assistant', content: 'ok' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  };
}
