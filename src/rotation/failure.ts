/**
 * How a step can fail, as the workflow's retry policies and the operator see it. The upper group is final: trying again
 * cannot help, so the rotation rolls back at once. The lower group is retried first.
 */
export const failureTypes = {
  /** What was asked for makes no sense: a field, a target, a configuration file. Nothing was changed. */
  badRequest: 'BadRequest',
  /** The deployment is not fit for a rotation. Nothing was changed. */
  refused: 'Refused',
  /** Another rotation of the same database holds the lease. */
  leaseHeld: 'LeaseHeld',
  /** A newer attempt, or another rotation, took over: this writer is stale and must not write. */
  fencedOut: 'FencedOut',
  /**
   * A later attempt of the same step, by the scheduler's clock, has begun. What a frozen attempt says is not heard; the newest one is
   * told so only where that clock was set back, and may try again.
   */
  overtaken: 'Overtaken',
  /** A key does not do what it must: the proxy refuses it, or stored values do not open with it. */
  wrongKey: 'WrongKey',
  /** Somebody else changed a file, or a part is on neither side. */
  changedElsewhere: 'ChangedElsewhere',
  /** A count that must agree does not: a value would be lost or left behind. */
  countMismatch: 'CountMismatch',
  /** The service did not stop, start, or stay up. */
  serviceFailed: 'ServiceFailed',
  /** The proxy does not answer as it must. */
  proxyFailed: 'ProxyFailed',
  /** No session is had by that connection string. Final while nothing is touched; after that somebody may be mending it. */
  databaseMisconfigured: 'DatabaseMisconfigured',
  /** Postgres refused or could not be reached. */
  databaseFailed: 'DatabaseFailed',
  /** A file could not be read or written (full disk, permissions). */
  fileFailed: 'FileFailed',
  /** Anything not foreseen: its text is withheld, because it could hold a secret. */
  unexpected: 'Unexpected',
} as const;

export type FailureType = (typeof failureTypes)[keyof typeof failureTypes];

/** Failures that no retry mends. */
export const finalFailures: readonly FailureType[] = [
  failureTypes.badRequest,
  failureTypes.refused,
  failureTypes.leaseHeld,
  failureTypes.fencedOut,
  failureTypes.wrongKey,
  failureTypes.changedElsewhere,
  failureTypes.countMismatch,
];

/**
 * The one error that adapters throw on purpose. Its message reaches Temporal's history, the terminal and logs, so it
 * says what was found, what was expected and what to do next, and never holds key material, a connection string, a
 * row's value, or a command line with a secret in it.
 */
export class RotationError extends Error {
  override readonly name = 'RotationError';
  readonly type: FailureType;
  /** Facts for a program or an auditor; the same rule holds for them. */
  readonly facts: Readonly<Record<string, unknown>> | undefined;

  constructor(
    type: FailureType,
    message: string,
    options: { facts?: Record<string, unknown>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.type = type;
    this.facts = options.facts;
  }
}
