import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { chmod, chown, link, mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { failureTypes } from '../../src/rotation/failure.ts';
import type { Finding } from '../../src/rotation/finding.ts';
import type { EnvFile } from '../../src/secret-stores/env-file/options.ts';
import type { ReaderName } from '../../src/secret-stores/env-file/readers.ts';
import { createEnvFileStore } from '../../src/secret-stores/env-file/store.ts';
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

const isRoot = process.getuid?.() === 0;
const canMark = ((): boolean => {
  const directory = mkdtempSync(join(tmpdir(), 'env-file-store-'));
  try {
    for (const mark of ['+i', '-i']) execFileSync('chattr', [mark, directory], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  } finally {
    rmSync(directory, { recursive: true });
  }
})();
const master = `LITELLM_MASTER_KEY=${previousMaster}`;

function short({ severity, code, where }: Finding): string {
  return `${severity} ${code} ${where.replace(/\/\S*\//g, '')}`;
}

/** The findings on files `a`, `b`, ... of one reader: `a` holds the keys, the others copies. */
async function findingsOn(reader: ReaderName, ...texts: string[]): Promise<string[]> {
  const directory = temporaryDirectory();
  const files = await writeFiles(
    directory,
    Object.fromEntries(texts.map((text, index) => ['abc'[index]!, text])),
    { reader },
  );
  const { findings, current } = await createEnvFileStore({ files, names }).inspect();
  expect(current === undefined).toBe(findings.some(({ severity }) => severity === 'blocking'));
  for (const finding of findings) {
    for (const text of Object.values(finding)) {
      expect(text).not.toContain(previousMaster);
      expect(text).not.toContain(previousSalt);
    }
  }
  return findings.map(short).toSorted();
}

describe('a file that is fit has no findings', () => {
  test.for([
    ['systemd', keysFileText],
    ['shell', keysFileText.replaceAll('LITELLM', 'export LITELLM').replace('p$ss', 'p')],
    ['dotenv', keysFileText],
    ['docker-compose', keysFileText],
    ['docker', `${master}\nOTHER=a b # c\n`],
    ['systemd', `${master}\r\nLITELLM_SALT_KEY='${previousSalt}'\r\n`],
    ['systemd', master],
    ['systemd', `LITELLM_MASTER_KEY = "${previousMaster}"\n#LITELLM_SALT_KEY=\n;LITELLM_SALT_KEY=\n`],
    ['shell', `set -a\n${master}  # ours\nB=$(date)\nset +a\n`],
  ] as const)('%s: %j', async ([reader, text]) => {
    expect(await findingsOn(reader, text)).toEqual([]);
  });
});

describe('findings on one file', () => {
  test.for([
    ['systemd', `export ${master}\n`, ['blocking exported-line-unread a:1']],
    ['systemd', `export OTHER=x\n${master}\n`, ['warning exported-line-unread a:1']],
    ['docker', `export ${master}\n`, ['blocking exported-line-unread a:1']],
    ['systemd', `${master}\nLITELLM_MASTER_KEY=\n`, ['blocking emptied-name a:2']],
    ['systemd', `${master}\nLITELLM_SALT_KEY=""\n`, ['blocking emptied-name a:2']],
    ['systemd', `LITELLM_MASTER_KEY=\n${master}\n`, ['warning empty-line a:1']],
    ['systemd', `${master}\n${master}\n`, ['warning duplicate a:2']],
    ['systemd', `${master}\n${master}x\n`, ['blocking duplicate-differs a:2']],
    ['systemd', `${master}\nLITELLM_SMOKE_TEST_KEY=sk-other\n`, ['blocking copy-differs a:2']],
    ['systemd', 'LITELLM_MASTER_KEY=password\n', ['blocking master-key-without-prefix a:1']],
    ['systemd', 'OTHER=x\n', ['blocking master-key-missing a']],
    ['systemd', `${master}\nLITELLM_MIGRATE_FROM_MASTER_KEY=sk-x\n`, ['blocking migration-variable-set a:2']],
    ['systemd', `${master} # ours\n`, ['blocking value-with-white-space a:1']],
    ['systemd', `LITELLM_MASTER_KEY="${previousMaster}" # ours\n`, ['blocking value-with-white-space a:1']],
    ['systemd', `LITELLM_MASTER_KEY="sk-a\nb"\n`, ['blocking value-with-white-space a:1']],
    ['systemd', `LITELLM_MASTER_KEY=sk-a$b\n`, ['blocking value-not-literal a:1']],
    ['systemd', `LITELLM_MASTER_KEY=sk-a\\\nb\n`, ['blocking value-not-plain a:1']],
    ['systemd', `LITELLM_MASTER_KEY="sk-"'a'\n`, ['blocking value-not-plain a:1']],
    ['systemd', `# the key \\\n${master}\n`, ['blocking line-not-read a:2']],
    ['systemd', `OTHER=x\\\n${master}\n`, ['blocking line-not-read a:2']],
    ['systemd', `OTHER="x\n${master}\n`, ['blocking line-not-read a:2', 'blocking unclosed-quote a:1']],
    ['systemd', `\xef\xbb\xbf${master}\n`, ['blocking byte-order-mark a:1', 'blocking line-not-read a:1']],
    ['systemd', `${master}\nOTHER=\0\n`, ['blocking file-refused a:2']],
    ['systemd', `${master}\nOTHER=\xff\n`, ['blocking file-refused a:2']],
    ['shell', `${master}\r\n`, ['blocking value-with-carriage-return a:1']],
    [
      'shell',
      `LITELLM_MASTER_KEY = ${previousMaster}\n`,
      ['blocking line-not-read a:1', 'warning command-in-file a:1'],
    ],
    ['shell', `LITELLM_MASTER_KEY=$(cat /key)\n`, ['blocking value-not-literal a:1']],
    ['shell', `${master}\nLITELLM_SMOKE_TEST_KEY=$LITELLM_MASTER_KEY\n`, ['blocking value-not-literal a:2']],
    ['shell', `set +a\n${master}\n`, ['blocking not-exported a:2']],
    [
      'shell',
      `${master}\nif true; then\nA=1\nfi\n`,
      ['blocking control-flow a:2', 'blocking control-flow a:2', 'blocking control-flow a:4'],
    ],
    ['shell', `${master}\nsome-program\n`, ['warning command-in-file a:2']],
    ['docker', `LITELLM_MASTER_KEY="${previousMaster}"\n`, ['blocking value-with-quotes a:1']],
    ['docker', `${master} \n`, ['blocking value-with-white-space a:1']],
    ['docker-compose', `${master}\nA B=c\n`, ['blocking file-refused a:2']],
    ['docker-compose', 'LITELLM_MASTER_KEY=sk-a$OTHER\n', ['blocking value-not-literal a:1']],
    ['dotenv', 'LITELLM_MASTER_KEY=sk-a#b\n', ['blocking value-not-plain a:1']],
    ['dotenv', `${master}\nLITELLM_MASTER_KEY\n`, ['blocking line-not-read a:1']],
    ['dotenv', `LITELLM_MASTER_KEY: ${previousMaster}\n`, ['blocking line-not-read a:1']],
  ] as const)('%s: %j', async ([reader, text, expected]) => {
    expect(await findingsOn(reader, text)).toEqual([...expected]);
  });
});

describe('findings on two files', () => {
  test.for([
    ['systemd', `${master}\n`, 'LITELLM_MASTER_KEY=\n', ['blocking emptied-name b:1']],
    ['systemd', `${master}\n`, `LITELLM_MASTER_KEY=sk-other\n`, ['blocking two-sources b:1']],
    ['systemd', `OTHER=x\n`, `${master}\n`, ['blocking name-only-in-copies b:1']],
    [
      'systemd',
      `${master}\n`,
      `LITELLM_SMOKE_TEST_KEY=${previousMaster}\n`,
      ['blocking name-only-in-copies b:1'],
    ],
    ['systemd', `${master}\n`, `${master}\n`, []],
    ['shell', `${master}\n`, `OTHER=x ${master}\n`, ['blocking shared-line b:1']],
    // dotenv does not override: an empty name in a later file changes nothing, one in the first file wipes the key.
    ['dotenv', `${master}\n`, 'LITELLM_MASTER_KEY=\n', ['warning empty-line b:1']],
    [
      'systemd',
      `export ${master}\n`,
      'LITELLM_MASTER_KEY=\n',
      ['blocking emptied-name b:1', 'blocking exported-line-unread a:1'],
    ],
  ] as const)('%s: %j and %j', async ([reader, keys, copies, expected]) => {
    expect(await findingsOn(reader, keys, copies)).toEqual([...expected]);
  });
});

describe('findings on the files themselves', () => {
  test('reports every file that is missing, not regular, hard-linked, wide open or named twice', async () => {
    const directory = temporaryDirectory();
    const [keys] = await writeFiles(directory, { keys: `${master}\n` });
    await chmod(keys!.path, 0o644);
    await link(keys!.path, join(directory, 'other-name'));
    await mkdir(join(directory, 'folder'));
    await symlink(keys!.path, join(directory, 'again'));
    execFileSync('mkfifo', [join(directory, 'fifo')]);
    const files = ['missing', 'folder', 'fifo', 'again'].map((name) => ({
      ...keys!,
      path: join(directory, name),
    }));
    const { findings } = await createEnvFileStore({ files: [keys!, ...files], names }).inspect();
    const found = findings.filter(({ code }) => code !== 'duplicate').map(short);
    expect(found.toSorted()).toEqual([
      'blocking file-missing missing',
      'blocking file-named-twice keys',
      'blocking hard-linked again',
      'blocking hard-linked keys',
      'blocking not-a-regular-file fifo',
      'blocking not-a-regular-file folder',
      'warning mode-too-wide again',
      'warning mode-too-wide keys',
    ]);
  });

  test.runIf(isRoot)('reports what another user cannot read or give away', async () => {
    const directory = temporaryDirectory();
    await chmod(directory, 0o755);
    const [unreadable, foreign] = await writeFiles(directory, {
      unreadable: `${master}\n`,
      foreign: `${master}\n`,
    });
    await chmod(foreign!.path, 0o644);
    await chown(unreadable!.path, 0, 0);
    const store = createEnvFileStore({ files: [{ ...foreign!, role: 'keys' }, unreadable!], names });
    process.seteuid!(65534);
    try {
      const { findings } = await store.inspect();
      expect(findings.filter(({ severity }) => severity === 'blocking').map(short)).toEqual([
        'blocking owned-by-another foreign',
        'blocking file-unreadable unreadable',
      ]);
    } finally {
      process.seteuid!(0);
    }
  });

  test('reports an access control list, which the file that takes its place would not have', async () => {
    const directory = temporaryDirectory();
    const files = await writeFiles(directory, { keys: keysFileText });
    const [file] = files as [EnvFile];
    const store = createEnvFileStore({ files, names });
    expect((await store.inspect()).findings).toEqual([]);
    giveAccessList(file.path, 'access');
    const { findings } = await store.inspect();
    expect(findings.map(({ severity, code }) => `${severity} ${code}`)).toEqual([
      'warning mode-too-wide',
      'blocking access-list',
    ]);
  });

  test('reports an access list of the directory, which a new file in it gets, where the mode would put it in force', async () => {
    const directory = temporaryDirectory();
    const files = await writeFiles(directory, { keys: keysFileText });
    const [file] = files as [EnvFile];
    giveAccessList(directory, 'default');
    const store = createEnvFileStore({ files, names });
    expect((await store.inspect()).findings).toEqual([]);
    await chmod(file.path, 0o640);
    const { findings } = await store.inspect();
    expect(findings.map(({ severity, code }) => `${severity} ${code}`)).toEqual([
      'warning mode-too-wide',
      'blocking access-list-of-directory',
    ]);
  });

  test.runIf(isRoot)(
    'reports a file that is mounted by itself, which nothing can be renamed over (mounted as root)',
    async () => {
      const directory = join(temporaryDirectory(), 'a b\\c');
      await mkdir(directory);
      const files = await writeFiles(directory, { keys: keysFileText, other: '' });
      const store = createEnvFileStore({ files, names });
      const [{ path }, other] = files as [EnvFile, EnvFile];
      expect((await store.inspect()).findings).toEqual([]);
      execFileSync('mount', ['--bind', path, path]);
      onTestFinished(() => void execFileSync('umount', [path]));
      await expect(rename(other.path, path)).rejects.toMatchObject({ code: 'EBUSY' });
      const { findings } = await store.inspect();
      expect(findings.map(short)).toEqual(['blocking mounted-by-itself a b\\c/keys']);
    },
  );

  test.runIf(canMark)(
    'reports a file that is marked as immutable (by root, where the file system has that mark)',
    async () => {
      const files = await writeFiles(temporaryDirectory(), { keys: keysFileText });
      const [{ path }] = files as [EnvFile];
      execFileSync('chattr', ['+i', path]);
      onTestFinished(() => void execFileSync('chattr', ['-i', path]));
      const { findings } = await createEnvFileStore({ files, names }).inspect();
      expect(findings.map(short)).toEqual(['blocking immutable keys']);
    },
  );

  test('names the rotation whose slot is still there, but not to that rotation itself', async () => {
    const directory = temporaryDirectory();
    const files = await writeFiles(directory, { keys: keysFileText });
    const store = createEnvFileStore({ files, names });
    await store.prepare('rotation-1', createFence(), newKeys);
    const { findings, current } = await store.inspect();
    expect(findings).toMatchObject([
      {
        code: 'slot-of-another-rotation',
        severity: 'blocking',
        found: expect.stringContaining('rotation-1'),
        next: expect.stringContaining('litellm-rotate reconcile'),
      },
    ]);
    expect(current).toBeUndefined();
    expect((await store.inspect('rotation-1')).findings).toEqual([]);
    await expect(store.prepare('rotation-2', createFence('rotation-2'), newKeys)).rejects.toMatchObject({
      type: failureTypes.refused,
      message: expect.stringContaining('rotation-1'),
    });
  });
});

describe('the deployment that this project began with', () => {
  const byHand = keysFileText.replaceAll(/^(?=\w)/gm, 'export ');
  const emptied = serviceFileText.replace(`=${previousMaster}`, '=').concat(
    names.master
      .slice(1)
      .map((name) => `${name}=\n`)
      .join(''),
    'LITELLM_SALT_KEY=""\n',
  );

  test('is refused with one finding a line, each saying what to write; after that it is rotated', async () => {
    const directory = temporaryDirectory();
    const files = await writeFiles(directory, { '.007': byHand, 'env.litellm': emptied });
    const store = createEnvFileStore({ files, names });
    const before = await snapshot(files);
    const { findings, current } = await store.inspect();
    expect(current).toBeUndefined();
    const blocking = findings.filter(({ severity }) => severity === 'blocking');
    expect(blocking.map(short).toSorted()).toEqual(
      [
        ...[2, 3, 4, 5, 6].map((line) => `blocking exported-line-unread .007:${line}`),
        ...[2, 5, 6, 7, 8].map((line) => `blocking emptied-name env.litellm:${line}`),
      ].toSorted(),
    );
    const exported = blocking.find(({ where }) => where.endsWith('.007:2'))!;
    expect(exported.found).toContain('journal');
    expect(exported.next).toContain('LITELLM_MASTER_KEY=value');
    // The other secrets of the file go the same way: a warning, as they are not ours.
    expect(findings.filter(({ severity }) => severity === 'warning').map(short)).toEqual(
      [7, 8, 9].map((line) => `warning exported-line-unread .007:${line}`),
    );
    await expect(store.prepare('rotation-1', createFence(), newKeys)).rejects.toMatchObject({
      type: failureTypes.refused,
    });
    expect(await snapshot(files)).toBe(before);
    expect(listing(directory)).toEqual(['.007', 'env.litellm']);

    // What the findings say: no `export`, and no line that empties a name.
    const mended = byHand.replaceAll('export ', '');
    const mendedService = emptied.replaceAll(/^(LITELLM_\w+=)/gm, '#$1');
    await writeFile(files[0]!.path, mended);
    await writeFile(files[1]!.path, mendedService);
    expect((await store.inspect()).findings).toEqual([]);
    await store.prepare('rotation-1', createFence(), newKeys);
    expect(await store.promote('rotation-1', createFence())).toEqual({ written: 1, alreadyDone: 0 });
    const expected = mended.replaceAll(previousMaster, pendingMaster).replaceAll(previousSalt, pendingSalt);
    expect(await snapshot(files)).toBe(
      await snapshot(
        await writeFiles(temporaryDirectory(), { '.007': expected, 'env.litellm': mendedService }),
      ),
    );
  });

  test('is rotated as it stands when a shell reads the keys file alone', async () => {
    const files = await writeFiles(
      temporaryDirectory(),
      { '.007': byHand.replace('p$ss', 'p') },
      { reader: 'shell' },
    );
    const store = createEnvFileStore({ files, names });
    expect((await store.inspect()).findings).toEqual([]);
    await store.prepare('rotation-1', createFence(), newKeys);
    await store.promote('rotation-1', createFence());
    const { current } = await store.inspect('rotation-1');
    expect([current!.master.reveal(), current!.salt!.reveal()]).toEqual([pendingMaster, pendingSalt]);
  });
});

/** user::rw-, user:65534:r--, group::---, mask::r--, other::---, as in linux/posix_acl_xattr.h. */
function giveAccessList(path: string, kind: 'access' | 'default'): void {
  const entries = [
    [1, 6],
    [2, 4, 65_534],
    [4, 0],
    [16, 4],
    [32, 0],
  ] as const;
  const acl = Buffer.concat(
    [Buffer.from([2, 0, 0, 0])].concat(
      entries.map(([tag, allowed, id = 0xffff_ffff]) => {
        const entry = Buffer.alloc(8);
        entry.writeUInt16LE(tag, 0);
        entry.writeUInt16LE(allowed, 2);
        entry.writeUInt32LE(id, 4);
        return entry;
      }),
    ),
  );
  const set = `import os; os.setxattr(${JSON.stringify(path)}, 'system.posix_acl_${kind}', bytes.fromhex('${acl.toString('hex')}'))`;
  execFileSync('python3', ['-c', set]);
}
