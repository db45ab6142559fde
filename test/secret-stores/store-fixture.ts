import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { EnvFile } from '../../src/secret-stores/env-file/options.ts';
import { previousMaster, previousSalt } from './store-fixture-keys.ts';

export * from './store-fixture-keys.ts';

/** A directory that goes away with the test. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'env-file-store-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Writes env files, 0600, in a directory; latin1, one character a byte. */
export async function writeFiles(
  directory: string,
  files: Readonly<Record<string, string>>,
  options: Partial<EnvFile> = {},
): Promise<EnvFile[]> {
  const written: EnvFile[] = [];
  for (const [name, text] of Object.entries(files)) {
    const path = join(directory, name);
    await writeFile(path, text, { encoding: 'latin1', mode: 0o600 });
    await chmod(path, 0o600);
    written.push({ path, role: written.length === 0 ? 'keys' : 'copies', reader: 'systemd', ...options });
  }
  return written;
}

/** Bytes, mode and owner of files: what a restore must bring back. */
export async function snapshot(files: readonly EnvFile[]): Promise<string> {
  const lines = [];
  for (const { path } of files) {
    const { mode, uid, gid } = await stat(path);
    lines.push(
      `${basename(path)} ${mode.toString(8)} ${uid}:${gid} ${(await readFile(path)).toString('hex')}`,
    );
  }
  return lines.join('\n');
}

/** Every name in a directory and the directories in it. */
export function listing(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).toSorted();
}

/** The two files of the deployment that this project began with, in a form that systemd reads. */
export const keysFileText = [
  '# keys of the proxy',
  `LITELLM_MASTER_KEY="${previousMaster}"`,
  `LITELLM_SALT_KEY="${previousSalt}"`,
  `LITELLM_SMOKE_TEST_KEY="${previousMaster}"`,
  `LITELLM_HEALTH_API_KEY="${previousMaster}"`,
  `LITELLM_PROXY_API_KEY="${previousMaster}"`,
  'LLM_API_KEY="sk-ant-1"',
  'EMBEDDING_API_KEY="e"',
  'REDIS_PASSWORD="p$ss"',
  '',
].join('\n');

export const serviceFileText = [
  'DATABASE_URL=postgresql://u:p@127.0.0.1:5434/litellm_db',
  `LITELLM_MASTER_KEY=${previousMaster}`,
  '# LITELLM_SALT_KEY is in the keys file',
  'PORT=4000',
  '',
].join('\n');
