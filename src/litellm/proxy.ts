import type { Secret } from '../rotation/secret.ts';
import { openPort, parseAddress } from './proxy-address.ts';
import type { LoadedModel, Proxy, ProxyOptions, ProxyPaths } from './proxy-port.ts';
import { createSender, unexpectedAnswer } from './proxy-request.ts';
import type { ProxyAnswer, ProxyRequest } from './proxy-request.ts';
import { tokenForms } from './token-row.ts';

const defaultPaths: ProxyPaths = {
  liveness: '/health/liveliness',
  readiness: '/health/readiness',
  authenticated: '/v1/models',
};

/** Sources of the routes and answers: LiteLLM 1.106.2, 1.108.7 and 1.110.2, seen on a real proxy and in litellm/proxy. */
export function createProxy({ url, timeoutMs = 15_000, paths: given }: ProxyOptions): Proxy {
  const address = parseAddress(url);
  const base = address.origin + address.pathname.replace(/\/+$/, '');
  const paths = { ...defaultPaths, ...given };
  const send = createSender(base, timeoutMs);
  const port = openPort(address, timeoutMs);

  async function expectOk(request: ProxyRequest, expected = '200'): Promise<unknown> {
    const answer = await send(request);
    if (answer.status !== 200) throw unexpectedAnswer(base, request, answer, expected);
    return answer.json;
  }

  async function modelInfo(key: Secret): Promise<LoadedModel[]> {
    const request = { method: 'GET', path: '/model/info', key } as const;
    const answer = await send(request);
    if (hasNoModels(answer)) return [];
    if (answer.status !== 200) throw unexpectedAnswer(base, request, answer, '200');
    return dataOf(answer.json).map((entry) => ({
      id: String(entry.model_info?.id),
      name: String(entry.model_name),
      apiBase: entry.litellm_params?.api_base,
    }));
  }

  return {
    url: base,

    locate: port.locate,
    isListening: port.isListening,

    async liveness() {
      const answer = await send({ method: 'GET', path: paths.liveness }).catch(() => undefined);
      return answer?.status === 200;
    },

    async readiness() {
      const answer = await send({ method: 'GET', path: paths.readiness }).catch(asError);
      if (answer instanceof Error) return { ready: false, detail: answer.message };
      const { status, db } = (answer.json ?? {}) as { status?: unknown; db?: unknown };
      return {
        ready: answer.status === 200 && db === 'connected',
        detail: `${answer.status}, status ${word(status)}, database ${word(db)}`,
      };
    },

    async tryKey(key) {
      const { status } = await send({ method: 'GET', path: paths.authenticated, key });
      if (status === 200) return 'accepted';
      return status === 401 || status === 403 ? 'refused' : { status };
    },

    async models(key) {
      const models = dataOf(await expectOk({ method: 'GET', path: '/v1/models', key }));
      return models.map(({ id }) => String(id)).sort();
    },

    modelInfo,

    async addModel(key, { id, name, provider, apiKey, apiBase }) {
      if ((await modelInfo(key)).some((model) => model.id === id)) return;
      await expectOk({
        method: 'POST',
        path: '/model/new',
        key,
        body: {
          model_name: name,
          litellm_params: { model: provider, api_key: apiKey.reveal(), api_base: apiBase },
          model_info: { id },
        },
      });
    },

    async deleteModel(key, id) {
      const request = { method: 'POST', path: '/model/delete', key, body: { id } } as const;
      const answer = await send(request);
      if (answer.status === 200 || isUnknownModel(answer)) return;
      throw unexpectedAnswer(base, request, answer, '200, or 400 for a model that is gone');
    },

    async generateKey(key, { key: virtualKey, alias, models, duration }) {
      // By its digest: a key in a query string would be in the access log.
      const { sha256 } = tokenForms(virtualKey);
      const look = { method: 'GET', path: `/key/info?key=${sha256}`, key } as const;
      const existing = await send(look);
      if (existing.status === 200) return;
      if (existing.status !== 404) throw unexpectedAnswer(base, look, existing, '200, or 404 for a new key');
      await expectOk({
        method: 'POST',
        path: '/key/generate',
        key,
        body: {
          key: virtualKey.reveal(),
          key_alias: alias,
          models,
          ...(duration === undefined ? {} : { duration }),
        },
      });
    },

    async deleteKey(key, virtualKey) {
      const request = {
        method: 'POST',
        path: '/key/delete',
        key,
        body: { keys: [tokenForms(virtualKey).sha256] },
      } as const;
      const answer = await send(request);
      if (answer.status !== 200 && answer.status !== 404) {
        throw unexpectedAnswer(base, request, answer, '200, or 404 for a key that is gone');
      }
    },

    async chat(key, model) {
      await expectOk({
        method: 'POST',
        path: '/v1/chat/completions',
        key,
        body: {
          model,
          messages: [{ role: 'user', content: 'ping' }],
          max_tokens: 1,
          cache: { 'no-cache': true, 'no-store': true },
        },
      });
    },
  };
}

/** What is read of the entries of `/v1/models` and `/model/info`. */
interface ModelEntry {
  readonly id?: unknown;
  readonly model_name?: unknown;
  readonly model_info?: { readonly id?: unknown };
  readonly litellm_params?: { readonly api_base?: string };
}

function dataOf(json: unknown): readonly ModelEntry[] {
  const { data } = (json ?? {}) as { data?: unknown };
  return Array.isArray(data) ? data : [];
}

// Started without a configuration file, LiteLLM has no list, not an empty one, until the first model is stored: a 500 for it
// (model_info_v1 in proxy_server.py), of which only the text tells.
function hasNoModels({ status, json }: ProxyAnswer): boolean {
  return status === 500 && /LLM (Model List|Router is) not loaded in/.test(JSON.stringify(json ?? null));
}

// The same status and `error.type` as for a malformed request; only the text tells (model_management_endpoints.py).
function isUnknownModel({ status, json }: ProxyAnswer): boolean {
  return status === 400 && JSON.stringify(json ?? null).includes('not found in db');
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error('no answer');
}

/** A short plain word of an answer, for people. */
function word(value: unknown): string {
  return typeof value === 'string' && /^[A-Za-z ]{1,30}$/.test(value) ? `"${value}"` : 'unknown';
}
