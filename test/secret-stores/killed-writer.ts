/** A program of the crash tests: does one thing with a store and kills itself (SIGKILL) before its n-th call that
 * changes something on disk. */
import { createEnvFileStore } from '../../src/secret-stores/env-file/store.ts';
import type { EnvFileStoreOptions } from '../../src/secret-stores/env-file/store.ts';
import { changingCalls, hookedFileSystem } from './hooked-file-system.ts';
import { createFence, newKeys } from './store-fixture-keys.ts';

export interface Work {
  readonly options: EnvFileStoreOptions;
  readonly act: 'prepare' | 'promote' | 'restore' | 'discard';
  readonly token: number;
  readonly killBefore: number;
}

process.once('message', async (work: Work) => {
  let calls = 0;
  const fs = hookedFileSystem(async (call) => {
    if (!changingCalls.has(call)) return;
    if (calls === work.killBefore) {
      process.kill(process.pid, 'SIGKILL');
      await new Promise(() => {});
    }
    calls += 1;
  });
  const store = createEnvFileStore(work.options, fs);
  const fence = createFence('rotation-1', work.token);
  if (work.act === 'prepare') await store.prepare('rotation-1', fence, newKeys);
  else if (work.act === 'discard') await store.discard('rotation-1', fence, 'previous');
  else await store[work.act]('rotation-1', fence);
  process.disconnect();
});
