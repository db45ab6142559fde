// Swaps in a process of its own, to be killed. It says `started` right before.
import { createRotationDatabase } from '../../src/reencryption/rotation-database.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { masterKey, silent, transition } from './database.ts';

const database = createRotationDatabase({ connectionString: new Secret(process.env.SWAP_URL ?? '') });
const fence = { rotation: 'r-1', token: Number(process.env.SWAP_TOKEN), assert: async () => undefined };
process.stdout.write('started\n');
await database.swap(transition, masterKey, fence, silent);
await database.close();
