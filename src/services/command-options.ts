import type { ProcessId } from './process-table.ts';

/** Programs are argument arrays: no shell reads them, so nothing in them is expanded. */
export interface CommandServiceOptions {
  /** What people call it. @default the start program's name */
  readonly name?: string;
  /** Leaves the service running behind it and exits 0; does nothing when it runs, or is starting, already. */
  readonly start: readonly string[];
  /** Exits 0 when the service is stopped, also when it was stopped already. */
  readonly stop: readonly string[];
  /**
   * Exits 0 when the service runs and 3 when it is stopped (LSB, "Init Script Actions"); any other code is `failed`.
   * The first line that it prints may name the process: `running 4711`, or `pid 4711` anywhere in it.
   */
  readonly status: readonly string[];
  /** Added to PATH and HOME: all that the three programs, and so the service, get from us. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** The file that the service appends its log to. */
  readonly log?: string;
  /** Milliseconds. @default 60 s */
  readonly stopTimeoutMs?: number;
  /** Milliseconds. @default 60 s */
  readonly startTimeoutMs?: number;
  /** Names of the variables that hold the keys. @default LITELLM_MASTER_KEY, LITELLM_SALT_KEY */
  readonly variables?: readonly string[];
}

/** One run of the status program. */
export interface CommandLook {
  readonly state: 'running' | 'stopped' | 'failed';
  readonly detail: string;
  readonly process: ProcessId | undefined;
}
