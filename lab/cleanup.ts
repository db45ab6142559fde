/** Something that runs and has to be stopped. */
interface Running {
  readonly stop: () => Promise<void>;
  /** The last resort, when the process ends with no time left: must not wait for anything. */
  readonly abandon: () => void;
}

const running: Running[] = [];
let watching = false;

/**
 * Notes something that this process has started. Whatever is still running is stopped, newest first, by `stopAll`, on
 * SIGINT, SIGTERM and SIGHUP; at the end of the process it is abandoned. Returns a `stop` that runs once.
 */
export function untilStopped(stop: () => Promise<void>, abandon: () => void): () => Promise<void> {
  watch();
  let stopping: Promise<void> | undefined;
  const entry: Running = { stop: () => (stopping ??= stop().finally(forget)), abandon };
  const forget = (): void => {
    const at = running.indexOf(entry);
    if (at >= 0) running.splice(at, 1);
  };
  running.push(entry);
  return entry.stop;
}

/** Stops all that is still running, newest first, even when one of them cannot be stopped. */
export async function stopAll(): Promise<void> {
  const failures: unknown[] = [];
  for (const entry of running.toReversed())
    await entry.stop().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw new AggregateError(failures, 'some parts of the lab did not stop');
}

function watch(): void {
  if (watching) return;
  watching = true;
  process.on('exit', () => {
    for (const entry of running.toReversed()) entry.abandon();
  });
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    let received = false;
    // Not `once`: what else listens (execa, while a child of its runs) ends the process when it finds itself alone.
    process.on(signal, () => {
      if (received) process.exit(128 + number);
      received = true;
      void stopAll()
        .catch((error: unknown) => console.error(error))
        .finally(() => process.exit(128 + number));
    });
  }
}
