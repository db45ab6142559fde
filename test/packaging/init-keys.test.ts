import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { readEnvFile } from '../../src/secret-stores/env-file/readers.ts';
import { composeProject, initKeys, root } from './project.ts';

const keysPath = 'packaging/compose/keys/litellm.env';
const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);
const secretsOf = (...texts: string[]): string[] =>
  texts.flatMap((text) =>
    Object.entries(parseEnv(text)).flatMap(([name, value]) =>
      /PASSWORD|KEY/.test(name) && value !== undefined ? [value] : [],
    ),
  );

describe('init-keys.sh', () => {
  test('makes both files readable by their owner alone, whatever the umask, and leaves nothing else behind', async () => {
    const directory = await composeProject();
    const { exitCode } = await initKeys(directory);
    expect(exitCode).toBe(0);
    expect(await modeOf(join(directory, '.env'))).toBe('600');
    expect(await modeOf(join(directory, keysPath))).toBe('600');
    expect(await modeOf(join(directory, 'packaging/compose/keys'))).toBe('700');
    expect((await readdir(directory)).toSorted()).toEqual(['.env', 'docker-compose.yml', 'packaging']);
    expect(await readdir(join(directory, 'packaging/compose/keys'))).toEqual(['litellm.env']);
  });

  test('makes six different secrets of 32 bytes, and prints none of them', async () => {
    const directory = await composeProject();
    const { output } = await initKeys(directory);
    const secrets = secretsOf(
      await readFile(join(directory, '.env'), 'utf8'),
      await readFile(join(directory, keysPath), 'utf8'),
    );
    expect(new Set(secrets)).toHaveLength(6);
    for (const secret of secrets) {
      expect(secret).toMatch(/^(sk-)?[0-9a-f]{64}$/);
      expect(output).not.toContain(secret.replace('sk-', ''));
    }
  });

  test('writes keys that every reader of env files takes the same way', async () => {
    const directory = await composeProject();
    await initKeys(directory);
    const text = await readFile(join(directory, keysPath), 'latin1');
    const expected = parseEnv(text);
    for (const reader of ['systemd', 'shell', 'dotenv', 'docker-compose', 'docker'] as const) {
      const { assignments, remarks } = readEnvFile(reader, text);
      expect(Object.fromEntries(assignments.map(({ name, value }) => [name, value])), reader).toEqual(
        expected,
      );
      expect(remarks).toEqual([]);
    }
  });

  test('keeps both files as they are when it runs again', async () => {
    const directory = await composeProject();
    await initKeys(directory);
    const before = await Promise.all(['.env', keysPath].map((path) => readFile(join(directory, path))));
    const { exitCode, stdout } = await initKeys(directory);
    const after = await Promise.all(['.env', keysPath].map((path) => readFile(join(directory, path))));
    expect(exitCode).toBe(0);
    expect(stdout).toContain('kept both');
    expect(after).toEqual(before);
  });

  test.for([
    ['.env', keysPath],
    [keysPath, '.env'],
  ] as const)('refuses to make the counterpart of a %s that is there alone', async ([present, missing]) => {
    const directory = await composeProject();
    await initKeys(directory);
    await rm(join(directory, missing));
    const before = await readFile(join(directory, present));
    const { exitCode, stderr } = await initKeys(directory);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`found ${present} without its counterpart; expected both files or neither`);
    expect(await readFile(join(directory, present))).toEqual(before);
    await expect(stat(join(directory, missing))).rejects.toThrow('ENOENT');
  });

  test('makes no file, not even a temporary one, when the disk takes none', async () => {
    const directory = await composeProject();
    // A file stands where the directory of the keys must go.
    await writeFile(join(directory, 'packaging/compose/keys'), '');
    const { exitCode } = await initKeys(directory);
    expect(exitCode).not.toBe(0);
    expect((await readdir(directory)).toSorted()).toEqual(['docker-compose.yml', 'packaging']);
  });

  test('refuses a repository of git that would commit the passwords, and names the file', async () => {
    const directory = await composeProject();
    await execa('git', ['init', '--quiet'], { cwd: directory });
    const refused = await initKeys(directory);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain('found that git does not ignore .env; expected a line in .gitignore');
    await writeFile(join(directory, '.gitignore'), '/.env\n');
    expect((await initKeys(directory)).exitCode).toBe(0);
    const { stdout } = await execa('git', ['status', '--short', '--untracked-files=all'], { cwd: directory });
    expect(stdout).not.toMatch(/ \.env|keys\//);
  });

  test('says what to do where there is no docker socket and no group is named', async (context) => {
    const socket = await stat('/var/run/docker.sock').catch(() => undefined);
    if (socket !== undefined) context.skip('this machine has a docker socket');
    const { exitCode, stderr } = await initKeys(await composeProject(), {});
    expect(exitCode).toBe(1);
    expect(stderr).toContain('found no /var/run/docker.sock');
    expect(stderr).toContain('DOCKER_GID=');
  });

  test('refuses a directory whose name compose would read as something else', async () => {
    const directory = join(await composeProject(), 'a$b');
    await mkdir(directory);
    await execa('cp', ['-R', '../packaging', '.'], { cwd: directory });
    const { exitCode, stderr } = await initKeys(directory);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('expected a path of letters, digits');
    await expect(stat(join(directory, '.env'))).rejects.toThrow('ENOENT');
  });
});

test('git ignores what init-keys.sh makes in this project', async (context) => {
  const inside = await execa('git', ['rev-parse', '--is-inside-work-tree'], { cwd: root, reject: false });
  if (inside.failed) context.skip('not a clone');
  for (const path of ['.env', keysPath]) {
    const { exitCode } = await execa('git', ['check-ignore', '--quiet', path], { cwd: root, reject: false });
    expect(exitCode, `${path} is ignored`).toBe(0);
  }
});
