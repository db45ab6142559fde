import { appendFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import type { SecretStore } from '../../src/secret-stores/port.ts';
import { createEnvFileStore } from '../../src/secret-stores/env-file/store.ts';
import { changingCalls, hookedFileSystem } from './hooked-file-system.ts';
import {
  createFence,
  keysFileText,
  names,
  newKeys,
  serviceFileText,
  temporaryDirectory,
  writeFiles,
} from './store-fixture.ts';

const rotation = 'rotation-1';
const fence = createFence(rotation);

async function deployment() {
  const files = await writeFiles(temporaryDirectory(), { keys: keysFileText, service: serviceFileText });
  let calls: string[] = [];
  let interfere = async (_call: string) => {};
  const fs = hookedFileSystem(async (call) => {
    await interfere(call);
    if (changingCalls.has(call)) calls.push(call);
  });
  const store = createEnvFileStore({ files, names }, fs);
  return {
    files,
    store,
    /** What a step does to the disk, call by call. */
    callsOf: async (act: (store: SecretStore) => Promise<unknown>): Promise<string[]> => {
      calls = [];
      await act(store);
      return calls;
    },
    beforeEach: (hook: typeof interfere) => (interfere = hook),
  };
}

/** The content is on disk before a name leads to it, and the name before anybody is told. */
const replaced = ['open wx', 'file.writeFile', 'file.chmod', 'file.sync', 'rename', 'file.sync'];

test('a slot is on disk before its name is, and both before its keys are used', async () => {
  const { callsOf } = await deployment();
  const calls = await callsOf((store) => store.prepare(rotation, fence, newKeys));
  const end = ['open wx', 'file.writeFile', 'file.sync', 'link', 'unlink', 'file.sync'];
  const tried = [...replaced.slice(0, 4), 'unlink'];
  const begin = [...tried, ...tried, 'mkdir', 'file.sync'];
  expect(calls.slice(0, begin.length)).toEqual(begin);
  expect(calls.slice(-end.length)).toEqual(end);
});

test('a slot that an attempt left when it was killed before its last sync is synced by the next', async () => {
  const { callsOf } = await deployment();
  await callsOf((store) => store.prepare(rotation, fence, newKeys));
  expect(await callsOf((store) => store.prepare(rotation, fence, newKeys))).toEqual(['file.sync']);
});

test('a file is on disk before it takes the place of the other, there and back, and so is its name', async () => {
  const { callsOf } = await deployment();
  await callsOf((store) => store.prepare(rotation, fence, newKeys));
  expect(await callsOf((store) => store.promote(rotation, fence))).toEqual([...replaced, ...replaced]);
  expect(await callsOf((store) => store.restore(rotation, fence))).toEqual([...replaced, ...replaced]);
});

test('a file that an attempt renamed when it was killed is synced by the next, which writes nothing', async () => {
  const { callsOf } = await deployment();
  await callsOf((store) => store.prepare(rotation, fence, newKeys));
  await callsOf((store) => store.promote(rotation, fence));
  expect(await callsOf((store) => store.promote(rotation, fence))).toEqual(['file.sync', 'file.sync']);
});

test('a file is read back: one that somebody changes right behind the rename is not taken for done', async () => {
  const { files, store, beforeEach } = await deployment();
  await store.prepare(rotation, fence, newKeys);
  let renamed = false;
  beforeEach(async (call) => {
    if (renamed) await appendFile(files[1]!.path, 'X=1\n');
    renamed = call === 'rename';
  });
  await expect(store.promote(rotation, fence)).rejects.toMatchObject({ type: 'ChangedElsewhere' });
});
