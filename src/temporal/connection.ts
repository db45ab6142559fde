import { loadClientConnectConfig } from '@temporalio/envconfig';
import { failureTypes, RotationError } from '../rotation/failure.ts';

/**
 * Where Temporal is: the same environment variables, profiles, TLS and API keys as the `temporal` CLI
 * (`TEMPORAL_ADDRESS`, `TEMPORAL_PROFILE`, `~/.config/temporalio/temporal.toml`), so Temporal Cloud works unchanged.
 */
export function temporalSettings(env: NodeJS.ProcessEnv) {
  const overrideEnvVars = Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const { connectionOptions, namespace = 'default' } = load(overrideEnvVars);
  return {
    connectionOptions: { ...connectionOptions, address: connectionOptions.address ?? '127.0.0.1:7233' },
    namespace,
  };
}

function load(overrideEnvVars: Record<string, string>): ReturnType<typeof loadClientConnectConfig> {
  try {
    return loadClientConnectConfig({ overrideEnvVars });
  } catch (error) {
    // The first line alone: a parser shows the lines of the file below, which may hold an API key.
    const [found] = (error instanceof Error ? error.message : String(error)).split('\n', 1);
    throw new RotationError(
      failureTypes.badRequest,
      `the settings of the temporal CLI: found ${found}; expected a profile and files that can be read; check TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE, ~/.config/temporalio/temporal.toml and the files that TEMPORAL_TLS_... names`,
    );
  }
}

/** A connection that could not be made, as one sentence. An API key turns TLS on. */
export function unreachable({
  address,
  tls,
}: ReturnType<typeof temporalSettings>['connectionOptions']): RotationError {
  return new RotationError(
    failureTypes.badRequest,
    `Temporal at ${address}: found no server${tls ? ' that answers by TLS' : ''}; expected one; start it ("temporal server start-dev"), or set TEMPORAL_ADDRESS or a profile of the temporal CLI`,
  );
}

/** A server that answers, and does not have the namespace. */
export function noNamespace(namespace: string): RotationError {
  return new RotationError(
    failureTypes.badRequest,
    `Temporal: found no namespace ${namespace}; expected one that is there; correct TEMPORAL_NAMESPACE, or run: temporal operator namespace create --namespace ${namespace}`,
  );
}
