import { createServer } from 'node:http';
import { untilStopped } from '../cleanup.ts';

/** A provider in the manner of OpenAI, on 127.0.0.1, that remembers which keys it was sent. */
export interface Provider {
  /** With `/v1`, as LiteLLM's `api_base`. */
  readonly url: string;
  /** What came after `Authorization: Bearer`, oldest first. */
  readonly keys: readonly string[];
  stop(): Promise<void>;
}

/** Starts a provider that answers every chat completion with `pong`. */
export async function startProvider(): Promise<Provider> {
  const keys: string[] = [];
  const answer = JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 0,
    model: 'gpt-provider',
    choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'pong' } }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  });
  const server = createServer((request, response) => {
    keys.push((request.headers.authorization ?? '').replace(/^Bearer /, ''));
    request.resume().once('end', () => response.setHeader('content-type', 'application/json').end(answer));
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  const stop = untilStopped(async () => close(), close);
  return { url: `http://127.0.0.1:${port}/v1`, keys, stop };
}
