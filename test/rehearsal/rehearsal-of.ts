import { createRotationDatabase } from '../../src/reencryption/rotation-database.ts';
import { createRehearsal, type RehearsalOptions } from '../../src/rehearsal/rehearsal.ts';
import type { Fence } from '../../src/rotation/fence.ts';
import { Secret } from '../../src/rotation/secret.ts';

/** The rehearsals of a database, by a connection string. */
export function rehearsalOf(source: string, options: Partial<RehearsalOptions> = {}) {
  return createRehearsal({
    source: new Secret(source),
    clone: 'auto',
    searchPath: process.env.PATH ?? '',
    start: ['/bin/true'],
    port: 4,
    environment: {},
    variables: { master: ['LITELLM_MASTER_KEY', 'A_COPY'], salt: ['LITELLM_SALT_KEY'] },
    readyTimeoutMs: 5_000,
    always: false,
    openDatabase: (connectionString, proxyRole) => createRotationDatabase({ connectionString, proxyRole }),
    ...options,
  });
}

export const fenceOf = (rotation: string, assert = () => Promise.resolve()): Fence => ({
  rotation,
  token: 1,
  assert,
});
