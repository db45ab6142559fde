import { DefaultLogger, type LogEntry } from '@temporalio/worker';
import type { Logger } from 'pino';

/** Temporal's own log lines, through ours. */
export function temporalLogger(logger: Logger): DefaultLogger {
  return new DefaultLogger('WARN', ({ level, message, meta }: LogEntry) => {
    const { error, ...facts } = (meta ?? {}) as { error?: unknown };
    const failure = error instanceof Error ? { type: error.name } : {};
    logger[level === 'ERROR' ? 'error' : level === 'WARN' ? 'warn' : 'info'](
      { ...facts, ...failure },
      message,
    );
  });
}
