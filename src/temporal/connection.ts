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
  const { address = '127.0.0.1:7233' } = connectionOptions;
  if (!/^[^/\s]+:\d+$/.test(address))
    throw new RotationError(
      failureTypes.badRequest,
      `the address of Temporal: found "${address}"; expected host:port, such as 127.0.0.1:7233; correct TEMPORAL_ADDRESS or the profile of the temporal CLI`,
    );
  return { connectionOptions: { ...connectionOptions, address }, namespace };
}
export type TemporalSettings = ReturnType<typeof temporalSettings>;

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
