import { chmod, chown, lchown, symlink, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { Command } from 'commander';
import { expect, test } from 'vitest';
import { addHostCommands } from '../../src/cli/commands/host.ts';
import { addRotationCommands } from '../../src/cli/commands/rotations.ts';
import { addScheduleCommands } from '../../src/cli/commands/schedules.ts';
import { addValueCommands } from '../../src/cli/commands/values.ts';
import { parseCount, parseInterval } from '../../src/cli/options.ts';
import { root, scratchDirectory } from './project.ts';

/** Runs a line of bash in the project, with the command line's program as `$cli`. */
async function bash(line: string) {
  const { exitCode, stdout, stderr } = await execa('bash', ['-c', line], {
    cwd: root,
    env: { cli: `${process.execPath} src/cli.ts` },
    reject: false,
  });
  return { exitCode, stdout, stderr };
}

test('says what is wrong with a command, and no more', async () => {
  const { exitCode, stdout, stderr } = await bash('$cli rotate prod --keys pepper');
  expect(exitCode).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^litellm-rotate: error: .*--keys.*pepper.*expected master, salt, or both/);
  expect(stderr).toContain('--help shows every command');
  expect(stderr).not.toMatch(/^\s+at /m);
});

test.for([
  ['a count of none', parseCount, '0', 'a number of at least 1'],
  ['a count that is no number', parseCount, '1e3', 'a number of at least 1'],
  ['rotations by the second', parseInterval, '59s', 'at least 1m'],
  ['a time without a unit', parseInterval, '90', 'a length of time such as 90d'],
] as const)('refuses %s', ([, parse, text, expected]) => {
  expect(() => parse(text)).toThrow(`expected ${expected}`);
});

test('takes a length of time of a minute, and a count of one', () => {
  expect([parseInterval('60s'), parseInterval('90d'), parseCount('1')]).toEqual([60_000, 90 * 86_400_000, 1]);
});

test.for([
  ["rotate prod --workflow-id ''", '--workflow-id'],
  ["plan prod --task-queue ''", '--task-queue'],
  ["inventory ''", 'target'],
  ["status ''", 'workflow-id'],
  ['status --limit 0', '--limit'],
  ['schedule create prod --every 30s', 'expected at least 1m'],
  ['schedule create prod --every 3651d', 'expected at most 3650d'],
  ["schedule create prod --every 90d --reason ''", '"reason" must be a text of 1 to 500 characters'],
  ['rotate prod --reason "$(printf %501s)"', '"reason" must be a text of 1 to 500 characters'],
  ['rotate prod other', 'too many arguments'],
  ['rotat prod', 'unknown command'],
  ['plan prod --yes', 'unknown option'],
] as const)('%s is refused before Temporal is asked for anything', async ([line, found]) => {
  const { exitCode, stdout, stderr } = await bash(`TEMPORAL_ADDRESS=127.0.0.1:9 $cli ${line}`);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr.split('\n')[0]).toMatch(/^litellm-rotate: error: /);
  expect(stderr).toContain(found);
  expect(stderr).not.toContain('Temporal');
});

test('ends without a word when whoever read its output has gone', async () => {
  expect(await bash('$cli --help | true; exit ${PIPESTATUS[0]}')).toEqual({
    exitCode: 141,
    stdout: '',
    stderr: '',
  });
});

test('says that its output could not be written', async () => {
  const { exitCode, stderr } = await bash('$cli --help > /dev/full');
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^litellm-rotate: error: .*ENOSPC[^\n]*$/);
});

test.for([
  ['a broken file of profiles, without its lines', 'TEMPORAL_CONFIG_FILE', 'temporal.toml'],
  ['a profile that there is not', 'TEMPORAL_PROFILE', 'nope'],
  ['a certificate that there is not', 'TEMPORAL_TLS_CLIENT_CERT_PATH', 'nope.pem'],
] as const)("ends with 2 for %s, where Temporal's settings name one", async ([, variable, value]) => {
  const directory = await scratchDirectory();
  await writeFile(join(directory, 'temporal.toml'), '[profile.default]\napi_key = "very-secret\n');
  const { exitCode, stdout, stderr } = await execa(process.execPath, [join(root, 'src/cli.ts'), 'status'], {
    cwd: directory,
    env: { HOME: directory, [variable]: value },
    reject: false,
  });
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toMatch(
    /^litellm-rotate: error: the settings of the temporal CLI: found .*; check TEMPORAL_[^\n]*$/,
  );
  expect(stderr).not.toContain('secret');
});

const nobody = 65_534;

test.runIf(process.getuid?.() === 0).for([
  ['is of another user', (path: string) => chown(path, nobody, nobody)],
  ['everybody can write', (path: string) => chmod(path, 0o666)],
  [
    'is a link of another user',
    async (path: string, directory: string) => {
      await symlink(path, join(directory, 'litellm-rotate.yaml'));
      await lchown(join(directory, 'litellm-rotate.yaml'), nobody, nobody);
    },
    'elsewhere.yaml',
  ],
] as const)(
  'runs no command of a configuration that it happens to find where it is called, and that %s',
  async ([, give, name = 'litellm-rotate.yaml']) => {
    const directory = await scratchDirectory();
    const [path, proof] = [join(directory, name), join(directory, 'proof')];
    await writeFile(
      path,
      `targets:
  prod:
    database: { url: { env: DATABASE } }
    secrets: { files: [{ path: /etc/litellm/keys.env, reader: systemd }] }
    service: { type: command, start: [/bin/true], stop: [/bin/true], status: [touch, ${proof}] }
    proxy: { url: http://127.0.0.1:9 }
`,
    );
    await give(path, directory);
    const doctor = (...options: string[]) =>
      execa(process.execPath, [join(root, 'src/cli.ts'), 'doctor', ...options], {
        cwd: directory,
        env: { DATABASE: 'postgresql://nobody@127.0.0.1:9/none', TEMPORAL_ADDRESS: '127.0.0.1:9' },
        reject: false,
      });
    expect(await doctor()).toMatchObject({
      exitCode: 2,
      stdout: '',
      stderr: expect.stringMatching(
        /^litellm-rotate: error: litellm-rotate\.yaml: found .*--config/,
      ) as string,
    });
    expect(existsSync(proof)).toBe(false);
    // Named, it is somebody's own choice.
    expect((await doctor('--config', path)).exitCode).toBe(1);
    expect(existsSync(proof)).toBe(true);
  },
);

test('every command, argument and option is described', () => {
  const program = new Command('litellm-rotate').enablePositionalOptions();
  for (const add of [addRotationCommands, addScheduleCommands, addValueCommands, addHostCommands])
    add(program);
  const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)];
  const commands = program.commands.flatMap(all);
  expect(commands.length).toBeGreaterThan(15);
  const described = commands.flatMap((command) =>
    [command.description(), ...command.registeredArguments, ...command.options].map((part) => ({
      command: command.name(),
      says: typeof part === 'string' ? part : part.description,
    })),
  );
  expect(described.filter(({ says }) => says === '')).toEqual([]);
});
