import type { Fence } from '../rotation/fence.ts';
import type { Finding } from '../rotation/finding.ts';
import type { Secret } from '../rotation/secret.ts';

/** One look at a service. */
export interface ServiceState {
  readonly state: 'running' | 'starting' | 'stopping' | 'stopped' | 'failed';
  /** Names this start of the service (systemd's InvocationID, a container's id, pid and start time); absent when stopped. */
  readonly instance: string | undefined;
  /** For people: `active (running), pid 4711, since 2026-11-24T03:12:00Z`. */
  readonly detail: string;
}

/** What the running service was given for a variable at its start. */
export type GivenValue = { readonly given: Secret } | 'absent' | 'unknown';

/**
 * The service that runs LiteLLM. `stop` and `start` look first, act at most once, and wait for the proof; both are safe
 * to call again after a kill of the caller or of the tool that they drive. Errors are `RotationError`s of type
 * `ServiceFailed`, or `FencedOut`; they hold nothing that a program printed. `facts.instance` of a `ServiceFailed` names
 * the start that failed, where there was one: the caller adds its last lines with `log`, redacted. An aborted `signal`
 * ends the waiting with the signal's own reason; what was begun goes on, and the next call joins it.
 */
export interface Service {
  /** For people: `systemd unit litellm.service`. */
  readonly description: string;
  /**
   * Reads only: does it exist, can we drive it, will its definition read the files that we write, can a restart be proved?
   * @param added The name of a variable that the files do not have yet and that the rotation adds to them.
   */
  inspect(added?: string): Promise<{ readonly findings: readonly Finding[]; readonly state: ServiceState }>;
  observe(): Promise<ServiceState>;
  /** Stops it and waits until nothing of it runs any more (no process, no container). Stopped already: does nothing. */
  stop(fence: Fence, signal: AbortSignal): Promise<ServiceState>;
  /** Starts it once and waits until the service manager calls it running. Running already: does nothing. */
  start(fence: Fence, signal: AbortSignal): Promise<ServiceState>;
  /** The running process's (or container's) value of each name, as given at its start. */
  environment(names: readonly string[]): Promise<ReadonlyMap<string, GivenValue>>;
  /**
   * Users that listen on a TCP port of the worker's machine and are neither root nor the service's: while it is stopped,
   * anybody there can take its port. None where that cannot be told.
   */
  strangers(port: number): Promise<readonly number[]>;
  /** The last lines that this start of the service wrote, oldest first; not redacted. Undefined when no log can be read. */
  log(instance: string, lines: number): Promise<readonly string[] | undefined>;
}
