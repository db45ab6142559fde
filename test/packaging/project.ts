import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { onTestFinished } from 'vitest';
import { copyComposeProject } from '../../lab/project-copies.ts';

/** The root of the project. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** A directory that is removed when the test has ended. */
export async function scratchDirectory(): Promise<string> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'litellm-rotate-packaging-')));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** A copy of what `docker compose` needs, as a user has it after the clone. */
export async function composeProject(): Promise<string> {
  const directory = await scratchDirectory();
  await copyComposeProject(directory);
  return directory;
}

/** Runs init-keys.sh with no environment but PATH and what is given. */
export async function initKeys(
  directory: string,
  env: Readonly<Record<string, string>> = { DOCKER_GID: '998' },
) {
  const { exitCode, stdout, stderr } = await execa(join(directory, 'packaging/compose/init-keys.sh'), {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    extendEnv: false,
    reject: false,
  });
  return { exitCode, stdout, stderr, output: `${stdout}\n${stderr}` };
}
