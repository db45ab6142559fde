import { setTimeout as sleep } from 'node:timers/promises';

const everyMs = 250;

/** Asks the service for a sign of life until it is stopped, and adds up how long there was none. */
export function watchOutage(url: string): { stop(): Promise<number> } {
  const life = { going: true };
  let outageMs = 0;
  const loop = (async () => {
    for (let last = Date.now(); life.going; await sleep(everyMs)) {
      const alive = await fetch(`${url}/health/liveliness`, { signal: AbortSignal.timeout(1_000) }).then(
        async (answer) => (await answer.text()) !== '' && answer.ok,
        () => false,
      );
      const now = Date.now();
      if (!alive) outageMs += now - last;
      last = now;
    }
  })();
  return {
    async stop() {
      life.going = false;
      await loop;
      return outageMs;
    },
  };
}
