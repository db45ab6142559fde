import { createHash, createHmac } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Proxy } from '../litellm/proxy-port.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import { Secret } from '../rotation/secret.ts';
import type { EchoEndpoint } from './echo-endpoint.ts';

/** Which canary: every part of it follows from these, so that a retry or another worker finds the same one. */
export interface CanaryOptions {
  readonly proxy: Proxy;
  /** A pending key of the rotation; the canary's secrets are derived from it and stored nowhere else. */
  readonly seed: Secret;
  readonly rotation: string;
}

/** How long a replica may take to load what another one, or a retry, has stored: LiteLLM reads its database each 30 s. */
const loadTimeoutMs = 60_000;

const namePrefix = 'litellm-rotate-canary-';

/**
 * The canary's name, and the id of its model. Rotations' ids may be long and hold what a URL cannot, so it is a digest.
 */
export function canaryName(rotation: string): string {
  return `${namePrefix}${createHash('sha256').update(rotation).digest('hex').slice(0, 12)}`;
}

/** Whether a model is a canary, of whichever rotation. */
export function isCanary(model: string): boolean {
  return model.startsWith(namePrefix);
}

/**
 * Stores the canary's model, whose provider is the endpoint, and a virtual key that may call nothing else and ends by
 * itself: a pause may last for weeks, with the verification behind it. Looks first; a model that points at the address of an earlier attempt's endpoint is replaced.
 *
 * Another rotation's model is deleted: a worker that was frozen here, and woke when its rotation had been rolled back,
 * has left one behind.
 */
export async function installCanary({
  proxy,
  seed,
  rotation,
  masterKey,
  endpointUrl,
}: CanaryOptions & { readonly masterKey: Secret; readonly endpointUrl: string }): Promise<void> {
  const name = canaryName(rotation);
  const apiBase = `${endpointUrl.replace(/\/+$/, '')}/${name}/v1`;
  const stale = (await proxy.modelInfo(masterKey)).filter(
    (model) => isCanary(model.id) && (model.id !== name || model.apiBase !== apiBase),
  );
  for (const { id } of stale) await proxy.deleteModel(masterKey, id);
  await proxy.addModel(masterKey, {
    id: name,
    name,
    provider: `openai/${name}`,
    apiKey: derive(seed, 'provider secret', rotation),
    apiBase,
  });
  const key = derive(seed, 'virtual key', rotation);
  await proxy.generateKey(masterKey, { key, alias: name, models: [name], duration: '90d' });
}

/**
 * Calls the model through the proxy with the stored virtual key. Resolves when the endpoint was sent exactly the secret
 * that was stored. Rejects with `WrongKey` when it was sent another one (LiteLLM sends the ciphertext of a credential
 * that it cannot open), or when the model is not served in time (it drops a model that it cannot open at all); with
 * `ProxyFailed` when the proxy fails otherwise.
 */
export async function callCanary({
  proxy,
  seed,
  rotation,
  endpoint,
  signal,
  timeoutMs = loadTimeoutMs,
}: CanaryOptions & {
  readonly endpoint: EchoEndpoint;
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
}): Promise<void> {
  const name = canaryName(rotation);
  endpoint.forget(name);
  await chatUntilServed(proxy, derive(seed, 'virtual key', rotation), name, timeoutMs, signal);
  const received = endpoint.received(name, derive(seed, 'provider secret', rotation));
  if (received === 'expected') return;
  const found = received === 'nothing' ? 'no call' : 'a call with another secret';
  throw new RotationError(
    failureTypes.wrongKey,
    `canary ${name}: found that its provider endpoint got ${found}, expected the secret that was stored; the proxy at ${proxy.url} does not open its stored values, or reaches another endpoint at that address`,
  );
}

/**
 * Deletes model and virtual key; fine when they are gone. LiteLLM keeps the deleted key's row, by its digest, in
 * `LiteLLM_DeletedVerificationToken`, and the calls in its spend tables.
 */
export async function removeCanary({
  proxy,
  seed,
  rotation,
  masterKey,
}: CanaryOptions & { readonly masterKey: Secret }): Promise<void> {
  await proxy.deleteKey(masterKey, derive(seed, 'virtual key', rotation));
  await proxy.deleteModel(masterKey, canaryName(rotation));
}

async function chatUntilServed(
  proxy: Proxy,
  key: Secret,
  model: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await proxy.chat(key, model);
    } catch (error) {
      if (!(error instanceof RotationError) || error.type !== failureTypes.proxyFailed) throw error;
      if (Date.now() >= deadline) throw isUnserved(error) ? unserved(proxy, model, error) : error;
    }
    await pause(Math.min(1_000, timeoutMs), undefined, { signal });
  }
}

// LiteLLM drops a stored model whose parameters it cannot open, and answers 400 as for one that never was.
function isUnserved({ facts }: RotationError): boolean {
  return [400, 403, 404].includes(Number(facts?.['status']));
}

function unserved(proxy: Proxy, model: string, { facts }: RotationError): RotationError {
  return new RotationError(
    failureTypes.wrongKey,
    `canary ${model}: found that the proxy at ${proxy.url} does not serve the stored model (${String(facts?.['status'])}), expected an answer; it drops models whose values it cannot open`,
    facts === undefined ? {} : { facts: { ...facts } },
  );
}

function derive(seed: Secret, what: 'provider secret' | 'virtual key', rotation: string): Secret {
  const bytes = createHmac('sha256', seed.reveal())
    .update(`litellm-rotate canary ${what} ${rotation}`)
    .digest();
  return new Secret(`sk-${bytes.toString('base64url')}`);
}
