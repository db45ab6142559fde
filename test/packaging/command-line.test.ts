import { execa } from 'execa';
import { expect, test } from 'vitest';
import { root } from './project.ts';

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
