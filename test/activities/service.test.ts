import { MockActivityEnvironment } from '@temporalio/testing';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Ports } from '../../src/activities/ports.ts';
import { createServiceActivities } from '../../src/activities/service.ts';
import { createEnvFileStore } from '../../src/secret-stores/env-file/store.ts';
import { createCommandService } from '../../src/services/command-service.ts';
import {
  createFence,
  keysFileText,
  names,
  newKeys,
  temporaryDirectory,
  writeFiles,
} from '../secret-stores/store-fixture.ts';

const rotation = 'rotation-1';

test('a rollback stops LiteLLM only while there are keys to go back to', async () => {
  const directory = temporaryDirectory();
  const store = createEnvFileStore({ files: await writeFiles(directory, { keys: keysFileText }), names });
  const runs = join(directory, 'runs');
  await writeFile(runs, '');
  const service = createCommandService({
    start: ['touch', runs],
    stop: ['rm', runs],
    status: ['sh', '-c', `[ -e ${runs} ] || exit 3`],
  });
  const fence = createFence(rotation);
  const target = { store, service, proxies: [], database: { fence: async () => fence } };
  const activities = createServiceActivities({ target: () => target } as unknown as Ports);
  const stop = (): Promise<unknown> => activities.stopServiceAgain({ target: 'prod', rotation });

  await store.prepare(rotation, fence, newKeys);
  await new MockActivityEnvironment().run(stop);
  expect(existsSync(runs)).toBe(false);

  // As another workflow does that has led the same rotation forward meanwhile.
  await writeFile(runs, '');
  await store.promote(rotation, fence);
  await store.discard(rotation, fence, 'pending');
  await expect(new MockActivityEnvironment().run(stop)).rejects.toMatchObject({
    type: 'ChangedElsewhere',
    message: expect.stringContaining('found no slot') as string,
  });
  expect(existsSync(runs)).toBe(true);
});
