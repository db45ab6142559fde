import { isMainThread } from 'node:worker_threads';

// Preloaded into the worker by `node --import`. The threads of Temporal's workflow sandbox are preloaded as well.
if (isMainThread && process.env['DRILL_DIRECTORY'] !== undefined) {
  const { injectInto } = await import('./hooks.ts');
  injectInto(process.env['DRILL_DIRECTORY']);
}
