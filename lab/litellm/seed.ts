import { randomBytes } from 'node:crypto';
import { insertLicensedRows } from './licensed-rows.ts';
import type { SeedRequest } from './seed-request.ts';
import { seedRequests } from './seed-requests.ts';

export { sealLegacy } from './licensed-rows.ts';

export interface SeedOptions {
  readonly url: string;
  readonly masterKey: string;
  readonly databaseUrl: string;
  /** The salt key, or the master key where there is none: for the rows that are put in by SQL. */
  readonly signingKey: string;
  /** The base URL (with `/v1`) of an OpenAI-like provider for the models `m-provider` and `m-provider-by-cred`. */
  readonly providerUrl?: string;
}

export interface Seeded {
  /** A virtual key that may call `m-openai`, `m-by-cred`, `m-provider` and `m-provider-by-cred`. */
  readonly virtualKey: string;
  /** What is stored sealed, by label; the same plaintext may be sealed in more than one place. */
  readonly plaintexts: Readonly<Record<string, string>>;
  /** What LiteLLM stores in clear, or has overwritten since, by label. */
  readonly clear: Readonly<Record<string, string>>;
  /** What the provider must be sent as `Authorization: Bearer` for `m-provider` and `m-provider-by-cred`. */
  readonly providerKeys: { readonly direct: string; readonly byCredential: string };
  readonly requests: readonly { readonly name: string; readonly status: number }[];
}

/**
 * Stores one of everything that holds a secret: over LiteLLM's own HTTP API, and by SQL what that refuses without a licence.
 * For a fresh database, once; about 3 s.
 *
 * @throws naming the requests that failed
 */
export async function seedLiteLLM(options: SeedOptions): Promise<Seeded> {
  const plaintexts: Record<string, string> = {};
  const clear: Record<string, string> = {};
  const into = (made: Record<string, string>) => (label: string) =>
    (made[label] = `PLAIN-${label}-${randomBytes(6).toString('hex')}`);
  const virtualKey = (): string => `sk-${randomBytes(16).toString('base64url')}`;
  const keys = { virtual: virtualKey(), logging: virtualKey(), doomed: virtualKey(), user: virtualKey() };

  const { url, masterKey, providerUrl = 'http://127.0.0.1:9/v1' } = options;
  const requests: { name: string; status: number }[] = [];
  const failures: string[] = [];
  for (const request of seedRequests({
    url,
    providerUrl,
    keys,
    secret: into(plaintexts),
    clear: into(clear),
  })) {
    const answer = await send(url, request, request.as ?? masterKey);
    requests.push({ name: request.name, status: answer.status });
    const text = await answer.text();
    if (!answer.ok)
      failures.push(
        `${request.name}: ${request.method} ${request.path} ${answer.status} ${text.slice(0, 300)}`,
      );
  }
  if (failures.length > 0)
    throw new Error(`LiteLLM refused ${failures.length} of ${requests.length}\n${failures.join('\n')}`);
  await insertLicensedRows(options.databaseUrl, options.signingKey, into(plaintexts));
  return {
    virtualKey: keys.virtual,
    plaintexts,
    clear,
    providerKeys: {
      direct: plaintexts.provider ?? '',
      byCredential: plaintexts['provider-by-credential'] ?? '',
    },
    requests,
  };
}

function send(url: string, { method, path, body }: SeedRequest, key: string): Promise<Response> {
  return fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(60_000),
  });
}
