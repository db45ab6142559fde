import { execa } from 'execa';
import { fileURLToPath } from 'node:url';
import { once } from '../lab/cache.ts';
import { ensureLiteLLM, type LiteLLMInstall } from '../lab/litellm/install.ts';

/** The peer's database client. Its wheel is built for the Python of LiteLLM's environment. */
const asyncpgVersion = '0.32.0';

/**
 * Runs one of this folder's Python programs in LiteLLM's environment: a JSON document on stdin, another on stdout. Keys
 * and connection strings are in the document, not in argv.
 */
export async function runPython<Answer>(
  program: 'seed' | 'peer' | 'check',
  document: object,
): Promise<Answer> {
  const { python, env, asyncpg } = await (environment ??= prepare());
  const file = fileURLToPath(new URL(`${program}.py`, import.meta.url));
  const { stdout } = await execa(python, [file], {
    env: { ...env, PYTHONPATH: asyncpg },
    extendEnv: false,
    input: JSON.stringify(document),
    stderr: 'inherit',
  });
  return JSON.parse(stdout) as Answer;
}

let environment: ReturnType<typeof prepare> | undefined;

async function prepare(): Promise<LiteLLMInstall & { readonly asyncpg: string }> {
  const install = await ensureLiteLLM();
  return { ...install, asyncpg: await ensureAsyncpg(install.python) };
}

/** In a directory of its own: LiteLLM's environment stays as LiteLLM's installer made it. */
async function ensureAsyncpg(python: string): Promise<string> {
  const tag = await execa(python, ['-c', 'import sys; print(sys.implementation.cache_tag)']);
  return once('asyncpg', `${asyncpgVersion}-${tag.stdout}`, async (directory) => {
    const quiet = ['-q', '--disable-pip-version-check', '--no-deps', '--target', directory];
    await execa(python, ['-m', 'pip', 'install', ...quiet, `asyncpg==${asyncpgVersion}`]);
  });
}
