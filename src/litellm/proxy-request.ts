import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { Secret } from '../rotation/secret.ts';

export interface ProxyRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** Sent as the bearer token. */
  readonly key?: Secret;
  /** Sent as JSON. May hold revealed secrets: it is in no error. */
  readonly body?: unknown;
}

export interface ProxyAnswer {
  readonly status: number;
  /** The parsed body, or undefined when it is not JSON. Never to be shown: LiteLLM echoes parts of keys. */
  readonly json: unknown;
}

/** Sends requests to one replica. Rejects with `ProxyFailed` when there is no answer in time, whatever its status else. */
export function createSender(
  base: string,
  timeoutMs: number,
): (request: ProxyRequest) => Promise<ProxyAnswer> {
  return async ({ method, path, key, body }) => {
    let text: string;
    let status: number;
    try {
      const answer = await fetch(base + path, {
        method,
        headers: {
          connection: 'close',
          accept: 'application/json',
          ...(key === undefined ? {} : { authorization: `Bearer ${key.reveal()}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        // A key must not follow a redirect to another host.
        redirect: 'manual',
        signal: AbortSignal.timeout(timeoutMs),
      });
      status = answer.status;
      text = await answer.text();
    } catch (error) {
      // No cause: fetch's errors can hold the request's headers.
      throw new RotationError(
        failureTypes.proxyFailed,
        `${base}: ${method} ${withoutQuery(path)} got no answer (${reasonOf(error)}), expected one within ${timeoutMs} ms; is the service up, and is this the replica's own address?`,
      );
    }
    return { status, json: parsed(text) };
  };
}

/** The failure for an answer that is not the one that was needed. */
export function unexpectedAnswer(
  base: string,
  { method, path }: ProxyRequest,
  { status, json }: ProxyAnswer,
  expected: string,
): RotationError {
  const refused = status === 401;
  const kind = errorKind(json);
  const found = `${base}: ${method} ${withoutQuery(path)} answered ${status}${kind === undefined ? '' : ` (${kind})`}`;
  return new RotationError(
    refused ? failureTypes.wrongKey : failureTypes.proxyFailed,
    `${found}, expected ${expected}; ${
      refused ? 'the proxy does not know the key' : "look at the proxy's log"
    }`,
    { facts: { status } },
  );
}

function withoutQuery(path: string): string {
  return path.split('?', 1)[0] as string;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** LiteLLM's own word for an error, such as `token_not_found_in_db`; a word and nothing else can hold no key. */
function errorKind(json: unknown): string | undefined {
  const { error } = (json ?? {}) as { error?: { type?: unknown } };
  const type = error?.type;
  return typeof type === 'string' && /^[a-z][a-z_]{2,39}$/.test(type) ? type : undefined;
}

function reasonOf(error: unknown): string {
  if (error instanceof Error && error.name === 'TimeoutError') return 'timed out';
  const code = (error as { cause?: { code?: unknown } }).cause?.code;
  return typeof code === 'string' ? code : 'connection failed';
}
