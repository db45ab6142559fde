import { execFileSync, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants, existsSync } from 'node:fs';
import {
  appendFile,
  chmod,
  chown,
  mkdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { failureTypes } from '../../src/rotation/failure.ts';
import { Secret } from '../../src/rotation/secret.ts';
import type { ReaderName } from '../../src/secret-stores/env-file/readers.ts';
import { createEnvFileStore } from '../../src/secret-stores/env-file/store.ts';
import { hookedFileSystem } from './hooked-file-system.ts';
import type { Work } from './killed-writer.ts';
import {
  createFence,
  keysFileText,
  listing,
  names,
  newKeys,
  pendingMaster,
  pendingSalt,
  previousMaster,
  previousSalt,
  serviceFileText,
  snapshot,
  temporaryDirectory,
  writeFiles,
} from './store-fixture.ts';

const rotation = 'rotation-1';
const fence = createFence();

async function deployment() {
  const directory = temporaryDirectory();
  const files = await writeFiles(directory, { keys: keysFileText, service: serviceFileText });
  return { directory, files, store: createEnvFileStore({ files, names }), before: await snapshot(files) };
}

describe('a rotation', () => {
  test('lists the places, replaces the keys, removes the copies, and leaves every other byte', async () => {
    const { files, store } = await deployment();
    const { findings, places, current } = await store.inspect();
    expect(findings).toEqual([]);
    expect(current!.master.reveal()).toBe(previousMaster);
    expect(places.map(({ where, name, action }) => `${action} ${name} ${where.replace(/.*\//, '')}`)).toEqual(
      [
        'replace LITELLM_MASTER_KEY keys:2',
        'replace LITELLM_SMOKE_TEST_KEY keys:4',
        'replace LITELLM_HEALTH_API_KEY keys:5',
        'replace LITELLM_PROXY_API_KEY keys:6',
        'replace LITELLM_SALT_KEY keys:3',
        'remove LITELLM_MASTER_KEY service:2',
      ],
    );

    const { previous, pending } = await store.prepare(rotation, fence, newKeys);
    expect([previous.master.reveal(), previous.salt!.reveal()]).toEqual([previousMaster, previousSalt]);
    expect([pending.master.reveal(), pending.salt!.reveal()]).toEqual([pendingMaster, pendingSalt]);
    expect(await store.promote(rotation, fence)).toEqual({ written: 2, alreadyDone: 0 });
    expect(await readFile(files[0]!.path, 'latin1')).toBe(
      keysFileText.replaceAll(previousMaster, pendingMaster).replaceAll(previousSalt, pendingSalt),
    );
    expect(await readFile(files[1]!.path, 'latin1')).toBe(
      serviceFileText.replace(`LITELLM_MASTER_KEY=${previousMaster}\n`, ''),
    );
  });

  test('is told apart at every step, and leaves nothing behind', async () => {
    const { directory, files, store, before } = await deployment();
    const clean = listing(directory);
    expect(await store.observe(rotation)).toEqual({ side: 'previous', parts: [], prepared: false });
    expect(await store.generations(rotation)).toBeUndefined();
    await expect(store.promote(rotation, fence)).rejects.toMatchObject({ type: failureTypes.refused });

    await store.prepare(rotation, fence, newKeys);
    expect(await store.observe(rotation)).toMatchObject({ side: 'previous', prepared: true });
    expect(await snapshot(files)).toBe(before);
    await store.promote(rotation, fence);
    expect(await store.observe(rotation)).toMatchObject({ side: 'pending', prepared: true });
    expect(await store.promote(rotation, fence)).toEqual({ written: 0, alreadyDone: 2 });
    await expect(store.discard(rotation, fence, 'previous')).rejects.toMatchObject({
      type: failureTypes.changedElsewhere,
    });
    expect((await store.generations(rotation))!.pending.master.reveal()).toBe(pendingMaster);

    expect(await store.restore(rotation, fence)).toEqual({ written: 2, alreadyDone: 0 });
    expect(await snapshot(files)).toBe(before);
    expect(await store.restore(rotation, fence)).toEqual({ written: 0, alreadyDone: 2 });
    await store.discard(rotation, fence, 'previous');
    await store.discard(rotation, fence, 'previous');
    expect(listing(directory)).toEqual(clean);
  });

  test('makes its keys once, however often it is prepared, and by whatever store object', async () => {
    const { files, store } = await deployment();
    await store.prepare(rotation, fence, newKeys);
    const again = await createEnvFileStore({ files, names }).prepare(rotation, fence, () => {
      throw new Error('generated twice');
    });
    expect(again.pending.master.reveal()).toBe(pendingMaster);
  });

  test('keeps its slot from every other user, and its keys from being printed', async () => {
    const { directory, store } = await deployment();
    const generations = await store.prepare(rotation, fence, newKeys);
    const slot = join(directory, '.litellm-rotate');
    expect(((await stat(slot)).mode & 0o7777).toString(8)).toBe('700');
    expect(((await stat(join(slot, 'slot.json'))).mode & 0o7777).toString(8)).toBe('600');
    expect(JSON.stringify(generations)).not.toContain('sk-');
  });

  test('keeps its slot in a directory of its own when one is configured', async () => {
    const { directory, files } = await deployment();
    const slotDirectory = join(directory, 'slots');
    const store = createEnvFileStore({ files, names, slotDirectory });
    await store.prepare(rotation, fence, newKeys);
    expect(listing(slotDirectory)).toEqual(['slot.json']);
    await store.discard(rotation, fence, 'previous');
    await mkdir(slotDirectory, { mode: 0o755 });
    await expect(store.prepare(rotation, fence, newKeys)).rejects.toMatchObject({
      type: failureTypes.refused,
      message: expect.stringContaining(`chmod 700 ${slotDirectory}`),
    });
  });

  test('is refused when its slot is damaged, without a word of its content', async () => {
    const { directory, store } = await deployment();
    await store.prepare(rotation, fence, newKeys);
    const slot = join(directory, '.litellm-rotate', 'slot.json');
    const text = await readFile(slot, 'utf8');
    const digest = text.replace(/"after":"..../, '"after":"AAAA');
    for (const damaged of ['', text.slice(0, -100), digest, 'null', '{"version":2}']) {
      await writeFile(slot, damaged);
      await expect(store.promote(rotation, fence)).rejects.toMatchObject({
        type: failureTypes.fileFailed,
        message: expect.stringMatching(/^(?!.*sk-[A-Za-z]{4}).*slot\.json/s),
      });
    }
  });
});

test.for(['slot.json', 'slot.json.destroyed'])(
  'a pipe in the place of %s is refused, not waited for',
  async (name) => {
    const { directory, store } = await deployment();
    await mkdir(join(directory, '.litellm-rotate'), { mode: 0o700 });
    const pipe = join(directory, '.litellm-rotate', name);
    execFileSync('mkfifo', ['--mode=600', pipe]);
    // Whoever waits for the other end of it takes one of the four threads that Node has for files.
    onTestFinished(() => writeFile(pipe, '', { flag: constants.O_RDWR | constants.O_NONBLOCK }));
    await expect(store.prepare(rotation, fence, newKeys)).rejects.toMatchObject({
      type: failureTypes.fileFailed,
      message: expect.stringContaining(pipe) as string,
    });
  },
);

describe.runIf(process.getuid?.() === 0)("a slot that is not the worker's own", () => {
  test.for([
    ['is of another user', { uid: 65_534, mode: 0o600 }],
    ['can be written by others', { uid: 0, mode: 0o666 }],
  ] as const)(
    'is refused when it %s: root would write what it says, where it says',
    async ([, { uid, mode }]) => {
      const { directory, files, store, before } = await deployment();
      const victim = join(directory, 'victim');
      await writeFile(victim, 'root only', { mode: 0o600 });
      await store.prepare(rotation, fence, newKeys);
      const slotDirectory = join(directory, '.litellm-rotate');
      const path = join(slotDirectory, 'slot.json');
      // Whoever owns the directory of the key files can put a directory of their own in this one's place.
      const slot = JSON.parse(await readFile(path, 'utf8')) as { parts: Record<string, unknown>[] };
      const image = { before: 'root only', after: 'theirs' };
      const encode = (encoding: (text: string) => string) => ({
        before: encoding(image.before),
        after: encoding(image.after),
      });
      slot.parts = [
        {
          ...slot.parts[0],
          path: victim,
          realPath: victim,
          ...encode((text) => Buffer.from(text).toString('base64')),
          digests: encode((text) => createHash('sha256').update(text).digest('hex')),
        },
      ];
      await writeFile(path, JSON.stringify(slot));
      await chmod(path, mode);
      await chown(path, uid, uid);
      for (const act of [
        () => store.promote(rotation, fence),
        () => store.generations(rotation),
        () => store.observe(rotation),
        () => store.inspect(),
      ]) {
        await expect(act()).rejects.toMatchObject({
          type: failureTypes.refused,
          message: expect.stringContaining(path) as string,
        });
      }
      expect(await readFile(victim, 'utf8')).toBe('root only');
      expect(await snapshot(files)).toBe(before);
    },
  );
});

describe('adding a salt key where there was none', () => {
  test.for([
    [
      'systemd',
      `A=1\nLITELLM_MASTER_KEY=OLD\nB=2\n`,
      `A=1\nLITELLM_MASTER_KEY=NEW\nLITELLM_SALT_KEY=SALT\nB=2\n`,
    ],
    [
      'systemd',
      `LITELLM_MASTER_KEY='OLD'\r\nB=2\r\n`,
      `LITELLM_MASTER_KEY='NEW'\r\nLITELLM_SALT_KEY='SALT'\r\nB=2\r\n`,
    ],
    ['systemd', `A=1\nLITELLM_MASTER_KEY=OLD`, `A=1\nLITELLM_MASTER_KEY=NEW\nLITELLM_SALT_KEY=SALT`],
    ['systemd', `A=1\r\nLITELLM_MASTER_KEY=OLD`, `A=1\r\nLITELLM_MASTER_KEY=NEW\r\nLITELLM_SALT_KEY=SALT`],
    [
      'systemd',
      `# \xff\nLITELLM_MASTER_KEY=OLD\n`,
      `# \xff\nLITELLM_MASTER_KEY=NEW\nLITELLM_SALT_KEY=SALT\n`,
    ],
    [
      'shell',
      `  export LITELLM_MASTER_KEY="OLD" # ours\nB=2\n`,
      `  export LITELLM_MASTER_KEY="NEW" # ours\n  export LITELLM_SALT_KEY="SALT"\nB=2\n`,
    ],
    [
      'dotenv',
      `#LITELLM_SALT_KEY=\nLITELLM_MASTER_KEY = OLD\n`,
      `#LITELLM_SALT_KEY=\nLITELLM_MASTER_KEY = NEW\nLITELLM_SALT_KEY=SALT\n`,
    ],
    ['docker-compose', `LITELLM_MASTER_KEY: 'OLD'\n`, `LITELLM_MASTER_KEY: 'NEW'\nLITELLM_SALT_KEY='SALT'\n`],
    ['docker', `LITELLM_MASTER_KEY=OLD\n`, `LITELLM_MASTER_KEY=NEW\nLITELLM_SALT_KEY=SALT\n`],
  ] satisfies [ReaderName, string, string][])('%s: %j becomes %j', async ([reader, text, expected]) => {
    const fill = (template: string): string =>
      template
        .replaceAll('OLD', previousMaster)
        .replaceAll('NEW', pendingMaster)
        .replaceAll('SALT', (found, at, all: string) =>
          all.slice(at, at + 8) === 'SALT_KEY' ? found : pendingSalt,
        );
    const files = await writeFiles(temporaryDirectory(), { keys: fill(text) }, { reader });
    const store = createEnvFileStore({ files, names });
    expect((await store.inspect()).places.at(-1)).toMatchObject({ action: 'add', name: 'LITELLM_SALT_KEY' });
    await store.prepare(rotation, fence, newKeys);
    await store.promote(rotation, fence);
    expect(await readFile(files[0]!.path, 'latin1')).toBe(fill(expected));
    await store.restore(rotation, fence);
    expect(await readFile(files[0]!.path, 'latin1')).toBe(fill(text));
  });
});

describe('one key of two', () => {
  test('leaves the salt key, and copies of it, alone when only the master key is new', async () => {
    const { files, store } = await deployment();
    await store.prepare(rotation, fence, (current) => ({ ...current, master: new Secret(pendingMaster) }));
    await store.promote(rotation, fence);
    expect(await readFile(files[0]!.path, 'latin1')).toBe(
      keysFileText.replaceAll(previousMaster, pendingMaster),
    );
  });

  test.for([
    [
      'with a character that readers take differently',
      { master: new Secret('sk-a$b'), salt: new Secret(pendingSalt) },
    ],
    ['with a line break', { master: new Secret(`sk-a\nB=c`), salt: new Secret(pendingSalt) }],
    ['that are the current ones', { master: new Secret(previousMaster), salt: new Secret(previousSalt) }],
    ['without the salt key', { master: new Secret(pendingMaster), salt: undefined }],
  ] as const)('refuses pending keys %s', async ([, pair]) => {
    const { directory, files, store, before } = await deployment();
    await expect(store.prepare(rotation, fence, () => pair)).rejects.toMatchObject({
      type: failureTypes.refused,
    });
    expect(await snapshot(files)).toBe(before);
    expect(listing(directory)).toEqual(['keys', 'service']);
  });
});

describe('what a file is besides its bytes', () => {
  test('symlinks stay, and the file that they lead to is replaced', async () => {
    const directory = temporaryDirectory();
    await mkdir(join(directory, 'real'));
    const [real] = await writeFiles(join(directory, 'real'), { keys: keysFileText });
    const path = join(directory, 'link');
    await symlink('real/keys', path);
    const store = createEnvFileStore({ files: [{ ...real!, path }], names });
    await store.prepare(rotation, fence, newKeys);
    await store.promote(rotation, fence);
    expect(await readlink(path)).toBe('real/keys');
    expect(await readFile(real!.path, 'latin1')).toContain(pendingMaster);
    expect(listing(directory)).toEqual([
      'link',
      'real',
      'real/.litellm-rotate',
      'real/.litellm-rotate/slot.json',
      'real/keys',
    ]);

    await rename(real!.path, join(directory, 'real', 'moved'));
    await rm(path);
    await symlink('real/moved', path);
    await expect(store.restore(rotation, fence)).rejects.toMatchObject({
      type: failureTypes.changedElsewhere,
      message: expect.stringContaining(path),
    });
  });

  test('mode and owner stay through promote and restore', async () => {
    const { files, store } = await deployment();
    await chmod(files[0]!.path, 0o640);
    // Only root can give a file away.
    if (process.getuid?.() === 0) await chown(files[0]!.path, 1234, 2345);
    const before = await snapshot(files);
    await store.prepare(rotation, fence, newKeys);
    await store.promote(rotation, fence);
    const { mode, uid, gid } = await stat(files[0]!.path);
    expect(before).toContain(`keys ${mode.toString(8)} ${uid}:${gid} `);
    await store.restore(rotation, fence);
    expect(await snapshot(files)).toBe(before);
  });

  test('no file with a key in it is ever wider than 0600, or than the file that it replaces', async () => {
    const { directory, files } = await deployment();
    await chmod(files[0]!.path, 0o640);
    const seen = new Set<string>();
    const watching = createEnvFileStore(
      { files, names },
      hookedFileSystem(async () => {
        for (const name of listing(directory)) {
          const stats = await stat(join(directory, name)).catch(() => undefined);
          if (stats?.isFile()) seen.add(`${name.replace(/.*\//, '')} ${(stats.mode & 0o777).toString(8)}`);
        }
      }),
    );
    const umask = process.umask(0);
    onTestFinished(() => void process.umask(umask));
    await watching.prepare(rotation, fence, newKeys);
    await watching.promote(rotation, fence);
    await watching.restore(rotation, fence);
    await watching.discard(rotation, fence, 'previous');
    expect([...seen].toSorted()).toEqual([
      '.keys.litellm-rotate.1.tmp 600',
      '.keys.litellm-rotate.1.tmp 640',
      '.service.litellm-rotate.1.tmp 600',
      '.slot.json.litellm-rotate.1.tmp 600',
      'keys 640',
      'service 600',
      'slot.json 600',
      'slot.json.destroyed 600',
    ]);
  });
});

describe('somebody else', () => {
  const changes = {
    'an edit': (path: string) => appendFile(path, 'X=1\n'),
    'another mode': (path: string) => chmod(path, 0o400),
    'a deleted file': (path: string) => rm(path),
  };
  test.for(
    Object.entries(changes).flatMap(([what, change]) => [0, 1].map((index) => ({ what, change, index }))),
  )(
    'is not overwritten: $what of file $index is found before the first write, by promote and by restore',
    async ({ change, index }) => {
      for (const act of ['promote', 'restore'] as const) {
        const { files, store } = await deployment();
        await store.prepare(rotation, fence, newKeys);
        if (act === 'restore') await store.promote(rotation, fence);
        await change(files[index]!.path);
        const left = files.filter((_, other) => other !== index);
        const before = await snapshot(left);
        expect(await store.observe(rotation)).toMatchObject({ side: 'changed' });
        await expect(store[act](rotation, fence)).rejects.toMatchObject({
          type: failureTypes.changedElsewhere,
          message: expect.stringContaining(files[index]!.path),
        });
        expect(await snapshot(left)).toBe(before);
        // An edit made before the promotion is the editor's to keep: it holds nothing of the pending keys.
        const harmless = act === 'promote' && existsSync(files[index]!.path);
        const discarded = store.discard(rotation, fence, 'previous');
        if (harmless) await expect(discarded).resolves.toBeUndefined();
        else await expect(discarded).rejects.toMatchObject({ type: failureTypes.changedElsewhere });
      }
    },
  );

  test('who copies a pending key into a file keeps the slot from being destroyed', async () => {
    const { files, store } = await deployment();
    const { pending } = await store.prepare(rotation, fence, newKeys);
    await appendFile(files[0]!.path, `COPIED=${pending.master.reveal()}\n`);
    await expect(store.discard(rotation, fence, 'previous')).rejects.toMatchObject({
      type: failureTypes.changedElsewhere,
    });
    expect(await store.generations(rotation)).toBeDefined();
  });

  test('who saves while the temp file is being written is not overwritten either', async () => {
    const { directory, files } = await deployment();
    const store = createEnvFileStore(
      { files, names },
      hookedFileSystem(async (call) => {
        if (call === 'file.chmod') await appendFile(files[1]!.path, 'X=1\n');
      }),
    );
    await createEnvFileStore({ files, names }).prepare(rotation, fence, newKeys);
    const clean = listing(directory);
    await expect(store.promote(rotation, fence)).rejects.toMatchObject({
      type: failureTypes.changedElsewhere,
    });
    expect(await readFile(files[1]!.path, 'latin1')).toBe(`${serviceFileText}X=1\n`);
    expect(await readFile(files[0]!.path, 'latin1')).toBe(keysFileText);
    expect(listing(directory)).toEqual(clean);
  });
});

test.runIf(process.getuid?.() === 0)(
  'an owner that cannot be given to a new file shows in prepare, which leaves nothing behind (as root without CAP_CHOWN)',
  async () => {
    const directory = temporaryDirectory();
    const files = await writeFiles(directory, { keys: keysFileText, service: serviceFileText });
    await chown(files[1]!.path, 65_534, 65_534);
    const clean = listing(directory);
    const program = fileURLToPath(new URL('./killed-writer.ts', import.meta.url));
    const child = fork(program, {
      execPath: 'setpriv',
      execArgv: ['--bounding-set', '-chown', process.execPath],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    child.send({ options: { files, names }, act: 'prepare', token: 2, killBefore: NaN } satisfies Work);
    expect(await text(child.stderr!)).toContain(
      `cannot write ${join(directory, '.service.litellm-rotate.2.tmp')}: EPERM; run the worker as the owner of the file`,
    );
    expect(listing(directory)).toEqual(clean);
  },
);

describe.runIf(process.getuid?.() === 0)(
  'a file system that fails (a tmpfs of this test, mounted as root)',
  () => {
    async function small() {
      const directory = temporaryDirectory();
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k,mode=700', 'env-file-store', directory]);
      onTestFinished(() => void execFileSync('umount', [directory]));
      const files = await writeFiles(directory, { keys: keysFileText, service: serviceFileText });
      const slotDirectory = join(temporaryDirectory(), 'slot');
      return {
        directory,
        files,
        store: createEnvFileStore({ files, names, slotDirectory }),
        before: await snapshot(files),
      };
    }

    /** Takes all the space there is. */
    async function fill(directory: string): Promise<string> {
      const path = join(directory, 'filler');
      for (const size of [65_536, 4096]) {
        try {
          for (;;) await appendFile(path, Buffer.alloc(size));
        } catch (error) {
          expect(error).toMatchObject({ code: 'ENOSPC' });
        }
      }
      return path;
    }

    test('full during promote: both files stay as they were, no temp file is left, and it works once there is space', async () => {
      const { directory, files, store, before } = await small();
      await store.prepare(rotation, fence, newKeys);
      const filler = await fill(directory);
      const full = listing(directory);
      await expect(store.promote(rotation, fence)).rejects.toMatchObject({
        type: failureTypes.fileFailed,
        message: expect.stringContaining('ENOSPC'),
      });
      expect(await snapshot(files)).toBe(before);
      expect(listing(directory)).toEqual(full);
      expect(await store.observe(rotation)).toMatchObject({ side: 'previous' });
      await rm(filler);
      expect(await store.promote(rotation, fence)).toEqual({ written: 2, alreadyDone: 0 });
    });

    test('full during prepare: no slot, no directory and no temp file is left', async () => {
      const { directory, files, before } = await small();
      await fill(directory);
      const full = listing(directory);
      await expect(
        createEnvFileStore({ files, names }).prepare(rotation, fence, newKeys),
      ).rejects.toMatchObject({
        type: failureTypes.fileFailed,
        message: expect.stringContaining('ENOSPC'),
      });
      expect(await snapshot(files)).toBe(before);
      expect(listing(directory)).toEqual(full);
    });

    test('read-only: found by inspect; promote changes nothing', async () => {
      const { directory, files, store, before } = await small();
      await store.prepare(rotation, fence, newKeys);
      execFileSync('mount', ['-o', 'remount,ro', directory]);
      const { findings } = await store.inspect(rotation);
      expect(findings.map(({ code }) => code)).toEqual(['directory-not-writable', 'directory-not-writable']);
      await expect(store.promote(rotation, fence)).rejects.toMatchObject({
        type: failureTypes.fileFailed,
        message: expect.stringContaining('EROFS'),
        facts: { errno: 'EROFS', path: expect.stringContaining(dirname(files[0]!.path)) },
      });
      expect(await snapshot(files)).toBe(before);
    });
  },
);
