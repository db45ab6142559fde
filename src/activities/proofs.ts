import { createHash } from 'node:crypto';
import { isCanary } from '../canary/canary.ts';
import type { Proxy } from '../litellm/proxy-port.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { ReportProgress } from '../rotation/fence.ts';
import type { KeyPair } from '../rotation/keys.ts';
import { Secret } from '../rotation/secret.ts';
import type { RotationDatabase, Transition } from '../reencryption/port.ts';
import { pause } from './context.ts';

/** LiteLLM may answer the previous key from a cache for a while. */
const refusalTimeoutMs = 60_000;

/** The side that must hold: `pending` after a cutover, `previous` after a rollback. */
export type Side = 'pending' | 'previous';

/** The keys that a side must have in force, and those of the other side where they are known. */
export interface SideKeys {
  readonly expected: KeyPair;
  readonly other: KeyPair | undefined;
}

/** The models of before the outage, by number and digest: their names may be many, and are not for the history. */
export interface SeenModels {
  readonly models: number;
  readonly modelsDigest: string;
}

/** The models that the proxy serves now, but for a canary's: one may be left of an earlier rotation. */
export async function seeModels(proxy: Proxy, key: Secret): Promise<SeenModels> {
  const models = (await proxy.models(key)).filter((name) => !isCanary(name));
  const modelsDigest = createHash('sha256').update(JSON.stringify(models)).digest('hex').slice(0, 16);
  return { models: models.length, modelsDigest };
}

export function randomKey(): Secret {
  return new Secret(`sk-${crypto.randomUUID()}`);
}

/** The side's master key gets 200: no other key is sent. */
export async function proveAccepted(proxy: Proxy, { master }: KeyPair, side: Side): Promise<void> {
  if (!(await accepts(proxy, master))) throw wrongKey(proxy, side, `refuses the ${side} master key`);
}

/** The side's master key gets 200; a random one and the other side's, where it is known, get 401. */
export async function proveKeys(
  proxy: Proxy,
  { expected, other }: SideKeys,
  side: Side,
  signal: AbortSignal,
): Promise<void> {
  await proveAccepted(proxy, expected, side);
  if (await accepts(proxy, randomKey())) throw wrongKey(proxy, side, 'accepts a random key');
  if (other === undefined || other.master.equals(expected.master)) return;
  const deadline = Date.now() + refusalTimeoutMs;
  while (await accepts(proxy, other.master)) {
    if (Date.now() > deadline)
      throw wrongKey(
        proxy,
        side,
        `still accepts the ${side === 'pending' ? 'previous' : 'pending'} master key`,
      );
    await pause(1_000, signal);
  }
}

function wrongKey({ url }: Proxy, side: Side, found: string): RotationError {
  return new RotationError(
    failureTypes.wrongKey,
    `${url}: found that it ${found}; expected only the ${side} master key to be accepted`,
  );
}

/** An answer that is neither yes nor no proves nothing of the key, and may be another one when it is asked again. */
async function accepts(proxy: Proxy, key: Secret): Promise<boolean> {
  const answer = await proxy.tryKey(key);
  if (typeof answer === 'string') return answer === 'accepted';
  throw new RotationError(
    failureTypes.proxyFailed,
    `${proxy.url}: found that it answered ${answer.status} to a key that was held against it; expected 200 or 401; look at its log`,
    { facts: answer },
  );
}

/**
 * The proxy serves the same models as were seen, but for a canary's.
 * @param assertHopeful throws where to wait for more of them is of no use
 */
export async function proveModels(
  proxy: Proxy,
  key: Secret,
  seen: SeenModels,
  timeoutMs: number,
  signal: AbortSignal,
  assertHopeful: () => void = () => undefined,
): Promise<void> {
  const { models, modelsDigest } = await awaitModels(proxy, key, seen, timeoutMs, signal, assertHopeful);
  if (modelsDigest === seen.modelsDigest) return;
  throw new RotationError(
    failureTypes.wrongKey,
    `${proxy.url}: found ${models} models, expected the ${seen.models} of before the rotation; a model whose credential does not open is dropped silently, and one that was added to config.yaml since LiteLLM's last start is new`,
  );
}

/** The models that the proxy serves, once they are those that were seen, or no longer can become those. */
export async function awaitModels(
  proxy: Proxy,
  key: Secret,
  seen: SeenModels,
  timeoutMs: number,
  signal: AbortSignal,
  assertHopeful: () => void = () => undefined,
): Promise<SeenModels> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const now = await seeModels(proxy, key);
    if (now.modelsDigest === seen.modelsDigest) return now;
    // Right after a start, LiteLLM serves before it has loaded the models from its database.
    if (Date.now() > deadline || now.models > seen.models) return now;
    assertHopeful();
    await pause(1_000, signal);
  }
}

/** Sealed values open with the new key, and none with another. `swapped`: how many there were at the swap. */
export async function proveValues(
  database: RotationDatabase,
  { known, to }: Transition,
  swapped: number,
  progress: ReportProgress,
  signal: AbortSignal,
): Promise<{ values: number; unreadable: number }> {
  const count = await database.count(to, known, progress, signal);
  if (count.underOthers > 0 || (swapped > 0 && count.underExpected === 0)) {
    const places = count.underOthers > 0 ? ` (in ${count.othersIn.join(', ')})` : '';
    throw new RotationError(
      failureTypes.countMismatch,
      `${database.description}: found ${count.underExpected} values under the key in force and ${count.underOthers} under a previous one${places}; expected all of them under the key in force; look for a program or an open page that has saved what it had read before the cutover, or for another LiteLLM on the same database`,
    );
  }
  return { values: count.underExpected, unreadable: count.unreadable };
}
