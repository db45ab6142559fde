import { fork } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { failureTypes } from '../../src/rotation/failure.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { createEnvFileStore } from '../../src/secret-stores/env-file/store.ts';
import { hookedFileSystem } from './hooked-file-system.ts';
import type { Work } from './killed-writer.ts';
import {
  createFence,
  createTokens,
  keysFileText,
  listing,
  names,
  newKeys,
  serviceFileText,
  snapshot,
  temporaryDirectory,
  writeFiles,
} from './store-fixture.ts';

const rotation = 'rotation-1';
const program = fileURLToPath(new URL('./killed-writer.ts', import.meta.url));

/** Runs the program and tells whether it was killed before it was done. */
async function runKilled(work: Work): Promise<boolean> {
  const child = fork(program, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  child.send(work);
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  if (signal === 'SIGKILL') return true;
  expect(code).toBe(0);
  return false;
}

async function deployment() {
  const directory = temporaryDirectory();
  const files = await writeFiles(directory, { keys: keysFileText, service: serviceFileText });
  const options = { files, names };
  return { directory, files, options, store: createEnvFileStore(options), before: await snapshot(files) };
}

describe('kill -9 before every call that changes something on disk', () => {
  test.for([
    ['promote', 'promote'],
    ['promote', 'restore'],
    ['restore', 'restore'],
    ['restore', 'promote'],
  ] as const)(
    'a %s that is killed is completed, byte for byte, by a %s',
    { timeout: 240_000 },
    async ([act, then]) => {
      const { directory, files, options, store, before } = await deployment();
      let token = 1;
      const next = () => createFence(rotation, (token += 1));
      await store.prepare(rotation, next(), newKeys);
      await store.promote(rotation, next());
      const after = await snapshot(files);
      const clean = listing(directory);
      const seen = new Set<string>();

      for (let killBefore = 0, killed = true; killed; killBefore += 1) {
        await (act === 'promote' ? store.restore(rotation, next()) : store.promote(rotation, next()));
        killed = await runKilled({ options, act, token: next().token, killBefore });
        const { side, prepared } = await store.observe(rotation);
        seen.add(side);
        expect(prepared).toBe(true);
        expect(side).not.toBe('changed');

        await store[then](rotation, next());
        expect(await snapshot(files)).toBe(then === 'promote' ? after : before);
        expect(listing(directory)).toEqual(clean);
        expect(await store[then](rotation, next())).toEqual({ written: 0, alreadyDone: 2 });
      }
      expect([...seen].toSorted()).toEqual(['mixed', 'pending', 'previous']);
    },
  );

  test(
    'a prepare that is killed leaves the files alone, and the next one fixes one pair of keys',
    { timeout: 240_000 },
    async () => {
      const { directory, files, options, store, before } = await deployment();
      const clean = listing(directory);
      let token = 1;
      for (let killBefore = 0, killed = true; killed; killBefore += 1) {
        killed = await runKilled({ options, act: 'prepare', token: (token += 1), killBefore });
        const slot = await store.generations(rotation);
        let generated = 0;
        const fixed = await store.prepare(rotation, createFence(rotation, (token += 1)), () => {
          generated += 1;
          return newKeys();
        });
        expect(generated).toBe(slot ? 0 : 1);
        expect(await store.generations(rotation)).toEqual(fixed);
        expect(await snapshot(files)).toBe(before);
        expect(listing(directory)).toEqual(
          [...clean, '.litellm-rotate', '.litellm-rotate/slot.json'].toSorted(),
        );

        await store.discard(rotation, createFence(rotation, (token += 1)), 'previous');
        expect(listing(directory)).toEqual(clean);
      }
    },
  );

  test(
    'a prepare that is killed, with no other one after it, is cleared away by a discard',
    { timeout: 240_000 },
    async () => {
      const { directory, files, options, store, before } = await deployment();
      const clean = listing(directory);
      const left = new Set<string>();
      let token = 1;
      for (let killBefore = 0, killed = true; killed; killBefore += 1) {
        killed = await runKilled({ options, act: 'prepare', token: (token += 1), killBefore });
        for (const name of listing(directory)) if (name.endsWith('.tmp')) left.add(name.split('.')[1] ?? '');
        await store.discard(rotation, createFence(rotation, (token += 1)), 'previous');
        expect(await snapshot(files)).toBe(before);
        expect(listing(directory)).toEqual(clean);
      }
      expect(left).toContain('keys');
    },
  );

  test(
    'a discard that is killed is completed by the next one, and no file with a key is left',
    { timeout: 240_000 },
    async () => {
      const { directory, options, store } = await deployment();
      const clean = listing(directory);
      let token = 1;
      for (let killBefore = 0, killed = true; killed; killBefore += 1) {
        await store.prepare(rotation, createFence(rotation, (token += 1)), newKeys);
        killed = await runKilled({ options, act: 'discard', token: (token += 1), killBefore });
        await store.discard(rotation, createFence(rotation, (token += 1)), 'previous');
        expect(listing(directory)).toEqual(clean);
      }
    },
  );
});

describe('a zombie: an older attempt that wakes up after a newer one acted', () => {
  test('promotes nothing after a restore, wherever it was paused', async () => {
    const { directory, files, options, before } = await deployment();
    const tokens = createTokens();
    const store = createEnvFileStore(options);
    await store.prepare(rotation, tokens.next(), newKeys);
    const clean = listing(directory);
    const outcomes = new Map<string, number>();

    for (let pauseBefore = 0, paused = true; paused; pauseBefore += 1) {
      const { promise: pausing, resolve: reached } = Promise.withResolvers<void>();
      const { promise: waking, resolve: wake } = Promise.withResolvers<void>();
      let calls = 0;
      paused = false;
      const zombie = createEnvFileStore(
        options,
        hookedFileSystem(async () => {
          calls += 1;
          if (calls !== pauseBefore + 1) return;
          paused = true;
          reached();
          await waking;
        }),
      );
      const promoting = zombie.promote(rotation, tokens.next()).then(
        () => 'done',
        (error: unknown) => (error as { type?: string }).type ?? String(error),
      );
      await Promise.race([pausing, promoting]);
      if (!paused) break;

      await store.restore(rotation, tokens.next());
      expect(await snapshot(files)).toBe(before);
      const inodes = await Promise.all(files.map(({ path }) => stat(path).then(({ ino }) => ino)));
      wake();
      const outcome = await promoting;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      expect(await snapshot(files)).toBe(before);
      expect(await Promise.all(files.map(({ path }) => stat(path).then(({ ino }) => ino)))).toEqual(inodes);
      expect(listing(directory)).toEqual(clean);
    }
    expect([...outcomes.keys()].toSorted()).toEqual([failureTypes.fencedOut, 'done']);
    // Done: paused within the last look, whose file was opened with everything in place: in front of stat, read and close.
    expect(outcomes.get('done')).toBe(3);
    expect(outcomes.get(failureTypes.fencedOut)).toBeGreaterThan(30);
  });

  test('does not replace the keys that a newer attempt fixed', async () => {
    const { options, directory } = await deployment();
    const clean = listing(directory);
    const store = createEnvFileStore(options);
    for (let pauseBefore = 0, paused = true; paused; pauseBefore += 1) {
      const tokens = createTokens();
      const { promise: pausing, resolve: reached } = Promise.withResolvers<void>();
      const { promise: waking, resolve: wake } = Promise.withResolvers<void>();
      let calls = 0;
      paused = false;
      const zombie = createEnvFileStore(
        options,
        hookedFileSystem(async () => {
          calls += 1;
          if (calls !== pauseBefore + 1) return;
          paused = true;
          reached();
          await waking;
        }),
      );
      const other = (letter: string) => () => ({ ...newKeys(), salt: new Secret(`sk-${letter.repeat(43)}`) });
      const preparing = zombie.prepare(rotation, tokens.next(), other('z')).catch(() => undefined);
      await Promise.race([pausing, preparing]);
      if (paused) {
        const fixed = await store.prepare(rotation, tokens.next(), other('y'));
        const pendingSalt = fixed.pending.salt!.reveal();
        wake();
        const late = await preparing;
        expect((await store.generations(rotation))!.pending.salt!.reveal()).toBe(pendingSalt);
        // A zombie that comes to an end at all has been told the keys that are in the slot.
        if (late) expect(late.pending.salt!.reveal()).toBe(pendingSalt);
      }
      await store.discard(rotation, tokens.next(), 'previous');
      expect(listing(directory)).toEqual(clean);
    }
  });

  test('is told so when a temp file of a newer attempt is in the way', async () => {
    const { directory, files, store, before } = await deployment();
    await store.prepare(rotation, createFence(rotation, 1), newKeys);
    await writeFiles(directory, { '.keys.litellm-rotate.9.tmp': 'x' });
    await expect(store.promote(rotation, createFence(rotation, 2))).rejects.toMatchObject({
      type: failureTypes.fencedOut,
      message: expect.stringContaining(join(directory, '.keys.litellm-rotate.9.tmp')),
    });
    expect(await snapshot(files)).toBe(before);
  });
});
