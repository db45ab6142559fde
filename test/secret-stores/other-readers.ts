import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const version = '1.2.4';

/** A name and what a reader takes it for; latin1. */
export type Values = Readonly<Record<string, string>>;

/** The real python-dotenv in one long-lived process; installed once, outside the clone. */
export function startPythonDotenv(): { read(text: string): Promise<Values>; stop(): void } {
  const child = spawn('python3', [fileURLToPath(new URL('./read-with-python-dotenv.py', import.meta.url))], {
    env: { ...process.env, PYTHONPATH: installPythonDotenv(), PYTHONDONTWRITEBYTECODE: '1' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async read(text) {
      child.stdin.write(`${JSON.stringify({ text })}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error('python-dotenv ended');
      return JSON.parse(value) as Values;
    },
    stop: () => child.stdin.end(),
  };
}

/** The directory for PYTHONPATH. */
export function installPythonDotenv(): string {
  const cache = process.env['LITELLM_ROTATE_CACHE'] ?? join(homedir(), '.cache', 'litellm-rotate');
  const directory = join(cache, `python-dotenv-${version}`);
  if (existsSync(directory)) return directory;
  mkdirSync(cache, { recursive: true });
  const partial = mkdtempSync(`${directory}.`);
  const requirement = `python-dotenv==${version}`;
  execFileSync('python3', ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', partial, requirement]);
  renameSync(partial, directory);
  return directory;
}

/** The real bash under `set -a; . file`, with nothing else in its environment. */
export function readWithBash(text: string, directory: string): Values {
  const path = join(directory, 'sourced');
  writeFileSync(path, text, 'latin1');
  const script = 'set -a; . "$1" 2>/dev/null; exec /usr/bin/env -0';
  const output = execFileSync('bash', ['--norc', '--noprofile', '-c', script, 'bash', path], {
    env: {},
    encoding: 'latin1',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const pairs = output.split('\0').filter((pair) => pair !== '');
  return Object.fromEntries(
    pairs
      .map((pair): [string, string] => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)])
      .filter(([name]) => !['PWD', 'OLDPWD', 'SHLVL', '_'].includes(name)),
  );
}
