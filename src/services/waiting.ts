import { setTimeout as sleep } from 'node:timers/promises';

/** How long a service must stay the same before it counts as up, in milliseconds. */
export const settleMs = 1_000;

/** Waits; rejects with the signal's own reason when it is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
  signal.throwIfAborted();
}

/** Looks every `everyMs` until the look is accepted or the time is up, and returns the last look. */
export async function lookUntil<Look>(
  look: () => Promise<Look>,
  accepted: (look: Look) => boolean,
  { timeoutMs, everyMs = 150, signal }: { timeoutMs: number; everyMs?: number; signal: AbortSignal },
): Promise<Look> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal.throwIfAborted();
    const seen = await look();
    if (accepted(seen) || performance.now() >= deadline) return seen;
    await pause(everyMs, signal);
  }
}
