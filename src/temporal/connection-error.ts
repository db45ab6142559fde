import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { TemporalSettings } from './connection.ts';

/** Statuses of gRPC. */
const [notFound, permissionDenied, unauthenticated] = [5, 7, 16];
/** The same two in the words of the worker's client, whose errors have no code. */
const refusal = /valid authentication credentials|does not have permission/;

/** A connection that could not be made, as one sentence. An API key turns TLS on. */
export function unreachable(error: unknown, settings: TemporalSettings): RotationError {
  const { address, tls } = settings.connectionOptions;
  return refusesClient(error)
    ? clientRefused(settings)
    : bad(
        `Temporal at ${address}: found no server that answers ${tls ? 'by' : 'without'} TLS; expected one; start it ("temporal server start-dev"), or correct TEMPORAL_ADDRESS, TEMPORAL_TLS or the profile of the temporal CLI`,
      );
}

/** What a call failed with, as one sentence, where gRPC or the server says so. */
export function callFailed(error: unknown, settings: TemporalSettings): RotationError | undefined {
  const status = grpcStatus(error);
  if (status === undefined) return undefined;
  if (refusesClient(status)) return clientRefused(settings);
  if (status.code === notFound && status.message.includes('Namespace'))
    return noNamespace(settings.namespace);
  return bad(
    `Temporal at ${settings.connectionOptions.address}: found ${status.message}; expected an answer; look with "litellm-rotate status" whether what was asked for was done`,
  );
}

/** A server that answers, and does not have the namespace. */
export function noNamespace(namespace: string): RotationError {
  return bad(
    `Temporal: found no namespace ${namespace}; expected one that is there; correct TEMPORAL_NAMESPACE, or run: temporal operator namespace create --namespace ${namespace}`,
  );
}

/** The error of gRPC itself, which Temporal's client wraps. */
export function grpcStatus(error: unknown): (Error & { readonly code: number }) | undefined {
  if (!(error instanceof Error)) return undefined;
  return 'code' in error && typeof error.code === 'number'
    ? (error as Error & { code: number })
    : grpcStatus(error.cause);
}

function refusesClient(error: unknown): boolean {
  const code = grpcStatus(error)?.code;
  return (
    code === permissionDenied ||
    code === unauthenticated ||
    (error instanceof Error && refusal.test(error.message))
  );
}

function clientRefused({ connectionOptions: { address }, namespace }: TemporalSettings): RotationError {
  return bad(
    `Temporal at ${address}: found that it does not let this client into namespace ${namespace}; expected an API key or a certificate that it knows; correct TEMPORAL_API_KEY, TEMPORAL_TLS_..., TEMPORAL_NAMESPACE or the profile of the temporal CLI`,
  );
}

function bad(message: string): RotationError {
  return new RotationError(failureTypes.badRequest, message);
}
