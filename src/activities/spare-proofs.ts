import { callCanary, installCanary } from '../canary/canary.ts';
import { startEchoEndpoint } from '../canary/echo-endpoint.ts';
import type { Rehearsal, SpareLiteLLM } from '../rehearsal/port.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { KeyGenerations } from '../rotation/keys.ts';
import { canarySeed } from './canary.ts';
import { pause } from './context.ts';
import { withLastLines } from './last-lines.ts';
import type { Job, Target } from './ports.ts';

const pollMs = 500;
/** LiteLLM is ready when its database answers, so its sessions are there already. */
const sessionsTimeoutMs = 10_000;

/** Waits until the spare LiteLLM serves. `ServiceFailed` when it ends before, or takes longer than it may. */
export async function untilReady(spare: SpareLiteLLM, { readyTimeoutMs }: Rehearsal, signal: AbortSignal) {
  const deadline = performance.now() + readyTimeoutMs;
  for (;;) {
    const ended = spare.ended();
    if (ended !== undefined) throw notReady(spare, `that the LiteLLM of the rehearsal ${ended}`);
    const { ready, detail } = await spare.proxy.readiness();
    if (ready) return;
    if (performance.now() > deadline) {
      throw notReady(spare, `${detail}, not ready ${readyTimeoutMs / 1000} s after the rehearsal's start`);
    }
    await pause(pollMs, signal);
  }
}

function notReady({ proxy }: SpareLiteLLM, found: string): RotationError {
  return new RotationError(
    failureTypes.serviceFailed,
    `${proxy.url}: found ${found}; expected it to serve on the clone with the new keys; correct rehearsal.start, or mend what its output says`,
  );
}

/** Nothing is stored through the spare LiteLLM before this: its configuration may lead it to the target's own database. */
export async function proveOnClone(
  rehearsal: Rehearsal,
  { rotation }: Job,
  signal: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + sessionsTimeoutMs;
  while ((await rehearsal.sessions(rotation)) === 0) {
    if (performance.now() > deadline) {
      throw new RotationError(
        failureTypes.refused,
        `${rehearsal.description}: found no session of LiteLLM's on the clone, so it is connected to another database; expected the one of its DATABASE_URL; take database_url out of its configuration, and what sets DATABASE_URL out of rehearsal.start`,
      );
    }
    await pause(pollMs, signal);
  }
}

/** A canary of the clone's own: stored through the spare LiteLLM, and called with what it has stored. */
export async function proveCanary(
  target: Target,
  { proxy }: SpareLiteLLM,
  { rotation }: Job,
  generations: KeyGenerations,
  signal: AbortSignal,
): Promise<void> {
  const endpoint = await startEchoEndpoint({ host: target.canary.host, port: target.canary.port });
  try {
    const canary = { proxy, seed: canarySeed(generations), rotation: `rehearsal of ${rotation}` };
    const endpointUrl = target.canary.url ?? endpoint.url;
    await installCanary({ ...canary, endpointUrl, masterKey: generations.pending.master });
    await callCanary({ ...canary, endpoint, signal });
  } finally {
    await endpoint.close();
  }
}

/** LiteLLM reads its database anew now and then: values that do not open show within `ms`. */
export async function watchOutput(
  spare: SpareLiteLLM,
  ms: number,
  tolerate: boolean,
  signal: AbortSignal,
): Promise<void> {
  for (const deadline = performance.now() + ms; ; await pause(pollMs, signal)) {
    assertDecrypting(spare, tolerate);
    if (performance.now() >= deadline) return;
  }
}

/** It runs, and its output so far has no value that did not open. */
export function assertDecrypting(spare: SpareLiteLLM, tolerate: boolean): void {
  const ended = spare.ended();
  if (ended !== undefined) throw notReady(spare, `that the LiteLLM of the rehearsal ${ended}`);
  const errors = spare.decryptionErrors();
  if (errors === 0 || tolerate) return;
  throw new RotationError(
    failureTypes.wrongKey,
    `${spare.proxy.url}: found ${errors} decryption errors in the output of the rehearsal's LiteLLM, expected none; see docs/runbook.md, "decryption errors"`,
  );
}

/** A LiteLLM that does not come up says why; the last lines, without secrets, belong to the failure. */
export function withOutput(error: unknown, spare: SpareLiteLLM, redact: (line: string) => string): unknown {
  const lines = spare.lastLines();
  if (!(error instanceof RotationError) || error.type !== failureTypes.serviceFailed || lines.length === 0)
    return error;
  return withLastLines(error, 'output', lines, redact);
}
