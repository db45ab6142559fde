import { existsSync } from 'node:fs';
import { failureTypes, RotationError } from '../rotation/failure.ts';

const places = ['litellm-rotate.yaml', '/etc/litellm-rotate/config.yaml'];

/** The configuration file: the one named, else `LITELLM_ROTATE_CONFIG`, else the first of the usual places. */
export function findConfig(named: string | undefined, env: NodeJS.ProcessEnv): string {
  const path = named ?? env['LITELLM_ROTATE_CONFIG'] ?? places.find((place) => existsSync(place));
  if (path !== undefined) return path;
  throw new RotationError(
    failureTypes.badRequest,
    `found no configuration file; expected ${places.join(' or ')}; name one with --config or LITELLM_ROTATE_CONFIG`,
  );
}
