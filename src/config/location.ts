import { existsSync, lstatSync, statSync } from 'node:fs';
import { failureTypes, RotationError } from '../rotation/failure.ts';

const here = 'litellm-rotate.yaml';
const places = [here, '/etc/litellm-rotate/config.yaml'];

/** The configuration file: the one named, else `LITELLM_ROTATE_CONFIG`, else the first of the usual places. */
export function findConfig(named: string | undefined, env: NodeJS.ProcessEnv): string {
  const path = named ?? env['LITELLM_ROTATE_CONFIG'];
  if (path !== undefined) return path;
  const found = places.find((place) => existsSync(place));
  if (found === here) mustBeTrusted(here);
  if (found !== undefined) return found;
  throw new RotationError(
    failureTypes.badRequest,
    `found no configuration file; expected ${places.join(' or ')}; name one with --config or LITELLM_ROTATE_CONFIG`,
  );
}

/** A configuration names programs that we run: in a directory such as /tmp, anybody could have put one in our way. */
function mustBeTrusted(path: string): void {
  const { uid, mode } = statSync(path);
  const owners = [uid, lstatSync(path).uid];
  const other = owners.find((owner) => owner !== 0 && owner !== process.geteuid?.());
  if (other === undefined && (mode & 0o002) === 0) return;
  const found = other === undefined ? 'that everybody may write to it' : `that it belongs to user ${other}`;
  throw new RotationError(
    failureTypes.badRequest,
    `${path}: found ${found}; expected a file of this user or of root, as the programs in it are run; name it with --config if it is to be trusted`,
  );
}
