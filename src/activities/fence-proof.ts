import { pause } from './context.ts';
import type { Target } from './ports.ts';

const pollMs = 500;

/** Waits until nothing can write with the current key; what still could when the time was up, in words. */
export async function awaitFence(target: Target, signal: AbortSignal): Promise<string | undefined> {
  const deadline = Date.now() + target.timing.fenceTimeoutMs;
  for (;;) {
    const obstacle = await fenceObstacle(target);
    if (obstacle === undefined || Date.now() > deadline) return obstacle;
    await pause(pollMs, signal);
  }
}

async function fenceObstacle(target: Target): Promise<string | undefined> {
  const state = await target.service.observe();
  if (state.state !== 'stopped' && state.state !== 'failed')
    return `${target.service.description}: found ${state.detail}`;
  for (const proxy of target.proxies) {
    if (await proxy.isListening()) return `${proxy.url}: found that its port still answers`;
  }
  const sessions = await target.database.proxySessions();
  const [first] = sessions;
  if (first === undefined) return undefined;
  return `${target.database.description}: found ${sessions.length} open session(s) of role ${first.role} (the first: pid ${first.pid}, application "${first.application}", from ${first.client})`;
}
