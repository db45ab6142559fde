import { execa } from 'execa';
import { cp, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** What the Dockerfile copies into the builder. */
const inputs = ['package.json', 'tsconfig.json', 'tsconfig.build.json', 'src'];

/** Runs `npm run build` in a new directory, with what the Dockerfile gives it. */
export async function buildProject(directory: string): Promise<void> {
  await mkdir(directory);
  await symlink(join(root, 'node_modules'), join(directory, 'node_modules'));
  for (const name of inputs) await cp(join(root, name), join(directory, name), { recursive: true });
  await execa('npm', ['run', 'build'], { cwd: directory });
}

/** Copies what `docker compose` needs, as a user has it after the clone, into a directory. */
export async function copyComposeProject(directory: string): Promise<void> {
  await cp(join(root, 'docker-compose.yml'), join(directory, 'docker-compose.yml'));
  await cp(join(root, 'packaging'), join(directory, 'packaging'), {
    recursive: true,
    filter: (source) => !source.endsWith('/compose/keys'),
  });
}
