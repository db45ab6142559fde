// Upgrades in place in a process of its own, to be killed.
import { createRotationDatabase } from '../../src/reencryption/rotation-database.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { never, silent, upgrade } from './database.ts';

const database = createRotationDatabase({
  connectionString: new Secret(process.env.IMPROVE_URL ?? ''),
  backOff: false,
});
const fence = { rotation: 'r-1', token: Number(process.env.IMPROVE_TOKEN), assert: async () => undefined };
await database.improve(upgrade, fence, silent, never);
await database.close();
