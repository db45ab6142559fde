import { execa } from 'execa';
import { createHash } from 'node:crypto';
import { cp, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cached, once } from '../cache.ts';
import { onPath } from '../child.ts';
import { say, stopwatch } from '../report.ts';
import { versions } from '../versions.ts';
import { nativeEngine } from './native-engine.ts';

/** LiteLLM from PyPI, unpatched, in an environment of its own. */
export interface LiteLLMInstall {
  readonly version: string;
  readonly python: string;
  /** The `litellm` command. */
  readonly bin: string;
  /** The directory that holds the packages `litellm` and `litellm_proxy_extras`. */
  readonly packages: string;
  /** What LiteLLM's environment has to hold beside its own settings. No key, no password. */
  readonly env: Readonly<Record<string, string>>;
}

const here = dirname(fileURLToPath(import.meta.url));
/** Pins one version of LiteLLM with everything that it needs; another one gets what pip chooses. */
const constraints = join(here, 'constraints.txt');
const slimClient = join(here, 'slim-client.py');

/** Installs LiteLLM into the cache: about a minute and 900 MB the first time. Needs a Python from 3.10 to 3.14, and npm. */
export async function ensureLiteLLM(): Promise<LiteLLMInstall> {
  const since = stopwatch();
  const version = `${versions.litellm}-${await recipe()}`;
  const had = await cached('litellm', version);
  const directory = await once('litellm', version, build);
  const engine = (await readFile(join(directory, 'engine-kind'), 'utf8')).trim();
  say(
    `litellm ${versions.litellm} ${had ? 'found' : 'installed'} in ${directory}, ${engine} Prisma engine (${since()})`,
  );
  return {
    version: versions.litellm,
    python: join(directory, 'venv/bin/python'),
    bin: join(directory, 'venv/bin/litellm'),
    packages: await packagesOf(directory),
    env: environment(directory, engine),
  };
}

/** A digest of what goes into the install beside the version: another recipe is another install. */
async function recipe(): Promise<string> {
  const files = (await readdir(join(here, 'engine'))).sort().map((name) => join(here, 'engine', name));
  const digest = createHash('sha256').update([versions.prismaPython, versions.prismaCli].join());
  for (const file of [constraints, slimClient, ...files]) digest.update(await readFile(file));
  return digest.digest('hex').slice(0, 8);
}

async function build(directory: string): Promise<void> {
  say(`litellm ${versions.litellm}: installing from PyPI and npm, about a minute, once`);
  const python = await findPython();
  await Promise.all([
    installPython(directory, python),
    installEngine(directory),
    installPrismaCli(directory),
  ]);
  const venvPython = join(directory, 'venv/bin/python');
  const env = environment(directory, 'wasm');
  const packages = await packagesOf(directory);
  await execa(
    venvPython,
    ['-m', 'prisma', 'generate', '--schema', join(packages, 'litellm/proxy/schema.prisma')],
    { env },
  );
  await execa(venvPython, [slimClient]);
  // Or the first start pays for it. A file that this Python cannot compile is none that it can import.
  await execa(venvPython, ['-m', 'compileall', '-q', '-j', '2', packages], {
    reject: false,
    stdio: 'ignore',
  });
  const native = await nativeEngine(venvPython, join(directory, 'engine'));
  await writeFile(join(directory, 'engine-kind'), native ? 'native\n' : 'wasm\n');
}

async function installPython(directory: string, python: string): Promise<void> {
  const venv = join(directory, 'venv');
  await execa(python, ['-m', 'venv', venv]);
  const pinned = (await readFile(constraints, 'utf8')).includes(`\nlitellm==${versions.litellm}\n`);
  await execa(join(venv, 'bin/python'), [
    '-m',
    'pip',
    'install',
    '-q',
    '--disable-pip-version-check',
    ...(pinned ? ['-c', constraints] : []),
    `litellm[proxy]==${versions.litellm}`,
    `prisma==${versions.prismaPython}`,
  ]);
}

/** Our engine and its npm packages. The wrapper makes it run on this Node, not on whichever is first on PATH. */
async function installEngine(directory: string): Promise<void> {
  const engine = join(directory, 'engine');
  await cp(join(here, 'engine'), engine, { recursive: true });
  await execa('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: engine });
  const wrapper = '#!/bin/sh\nexec "${LITELLM_ROTATE_NODE:-node}" "$(dirname "$0")/engine.mjs" "$@"\n';
  await writeFile(join(engine, 'wasm'), wrapper, { mode: 0o755 });
  // At each start LiteLLM has Prisma's CLI compare the schema with the database. Here that fails after four seconds of
  // Node for want of a schema engine, and LiteLLM goes on: so let it fail at once.
  const cli = '#!/bin/sh\necho "the WebAssembly engine cannot compare schemas" >&2\nexit 1\n';
  await mkdir(join(engine, 'bin'));
  await writeFile(join(engine, 'bin/prisma'), cli, { mode: 0o755 });
}

/** What prisma-client-py would install itself, but with a post-install script that downloads engines. */
async function installPrismaCli(directory: string): Promise<void> {
  const cli = join(directory, 'prisma-cli');
  await mkdir(cli);
  await writeFile(join(cli, 'package.json'), '{"name":"prisma-cli","private":true}\n');
  await execa(
    'npm',
    ['install', '--ignore-scripts', '--no-audit', '--no-fund', `prisma@${versions.prismaCli}`],
    { cwd: cli },
  );
}

function environment(directory: string, engine: string): Record<string, string> {
  const path = [
    ...(engine === 'wasm' ? [join(directory, 'engine/bin')] : []),
    join(directory, 'venv/bin'),
    dirname(process.execPath),
    '/usr/local/bin',
    '/usr/bin',
    '/bin',
  ];
  return {
    PATH: path.join(delimiter),
    LANG: 'C.UTF-8',
    LITELLM_ROTATE_NODE: process.execPath,
    PRISMA_QUERY_ENGINE_BINARY: join(directory, 'engine', engine),
    PRISMA_SCHEMA_ENGINE_BINARY: join(directory, 'engine/wasm'), // asked for its version only
    PRISMA_BINARY_CACHE_DIR: join(directory, 'prisma-cli'),
    PRISMA_HIDE_UPDATE_MESSAGE: '1',
    CHECKPOINT_DISABLE: '1',
    DISABLE_SCHEMA_UPDATE: 'true', // the database comes with its migrations
    STORE_MODEL_IN_DB: 'True',
    LITELLM_LOCAL_MODEL_COST_MAP: 'True', // no call home
    LITELLM_TELEMETRY: 'False',
    LITELLM_MODE: 'PRODUCTION', // no .env file from the working directory
  };
}

async function packagesOf(directory: string): Promise<string> {
  const lib = join(directory, 'venv/lib');
  const python = (await readdir(lib)).find((name) => name.startsWith('python3'));
  return join(lib, python ?? 'python3', 'site-packages');
}

/** A Python that LiteLLM supports and that can make a virtual environment; 3.11 first, where it was measured. */
async function findPython(): Promise<string> {
  const probe = 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 15))';
  for (const name of ['python3.11', 'python3.12', 'python3.13', 'python3', 'python3.10', 'python3.14']) {
    const path = onPath(name);
    if (path === undefined) continue;
    if (!(await execa(path, ['-c', probe], { reject: false })).failed) return path;
  }
  throw new Error(
    'LiteLLM needs Python 3.10 to 3.14 with its venv module (Debian: apt-get install python3-venv)',
  );
}
