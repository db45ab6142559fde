/** Writes one line about the lab's own work to stderr, so that stdout stays the caller's. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Starts a clock; the function it returns tells the seconds since, as in `0.3 s`. */
export function stopwatch(): () => string {
  const start = performance.now();
  return () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
}
