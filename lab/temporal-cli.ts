import { TestWorkflowEnvironment } from '@temporalio/testing';
import { execa } from 'execa';
import { access, constants, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDir, cached, once } from './cache.ts';
import { onPath } from './child.ts';
import { say, stopwatch } from './report.ts';
import { versions } from './versions.ts';

/** The module path is the CLI's own; its `go.mod` is fit for `go install` up to the pinned version. */
const goModule = `github.com/temporalio/cli/cmd/temporal@v${versions.temporalCli}`;

/** Where the SDK asks for the CLI (sdk-core, `ephemeral_server`). */
const downloadHost = 'https://temporal.download';

/**
 * The Temporal CLI, which holds the dev server and its UI: on PATH, else in the cache, else by the SDK's own download,
 * else built from source by Go (two to five minutes, once).
 */
export async function findTemporalCli(): Promise<string> {
  const since = stopwatch();
  const here = onPath('temporal') ?? (await inCache());
  if (here !== undefined) {
    say(`temporal (${await versionOf(here)}) found at ${here} (${since()})`);
    return here;
  }
  const downloaded = await download().catch((error: unknown) => {
    say(`temporal: ${downloadHost} is not to be had (${reason(error)}), next is Go (${since()})`);
    return undefined;
  });
  const cli = downloaded ?? (await build());
  say(
    `temporal (${await versionOf(cli)}) ${downloaded === undefined ? 'built' : 'fetched'} at ${cli} (${since()})`,
  );
  return cli;
}

/** One put into `bin` by hand (a CI cache, say), a downloaded one, or a built one. */
async function inCache(): Promise<string | undefined> {
  const downloaded = await cached('temporal-download', versions.temporalCli);
  const built = await cached('temporal', versions.temporalCli);
  const byHand = onPath('temporal', join(cacheDir(), 'bin'));
  return byHand ?? (downloaded && (await executableIn(downloaded))) ?? (built && join(built, 'temporal'));
}

async function download(): Promise<string | undefined> {
  // The SDK asks for minutes before it gives up, so a quick question comes first.
  await fetch(downloadHost, { method: 'HEAD', signal: AbortSignal.timeout(5000) });
  const directory = await once('temporal-download', versions.temporalCli, async (downloadDir) => {
    const executable = { type: 'cached-download', version: `v${versions.temporalCli}`, downloadDir } as const;
    const environment = await TestWorkflowEnvironment.createLocal({ server: { executable, ui: false } });
    await environment.teardown();
    await executableIn(downloadDir);
  });
  return executableIn(directory);
}

async function build(): Promise<string> {
  const go = onPath('go');
  if (go === undefined) {
    throw new Error(
      'no Temporal CLI: install it (https://docs.temporal.io/cli#install), or Go to have it built from source',
    );
  }
  say(`temporal: go install ${goModule}, two to five minutes, once`);
  const directory = await once('temporal', versions.temporalCli, async (bin) => {
    const env = { GOBIN: bin, GOFLAGS: '-modcacherw' };
    await execa(go, ['install', '-trimpath', '-ldflags', '-s -w', goModule], { env, cwd: bin });
  });
  return join(directory, 'temporal');
}

async function executableIn(directory: string): Promise<string> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    if (!(await stat(path)).isFile()) continue;
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  throw new Error(`no executable in ${directory}`);
}

async function versionOf(cli: string): Promise<string> {
  const { stdout } = await execa(cli, ['--version']);
  return /\((.*)\)/.exec(stdout)?.[1] ?? stdout; // a CLI built by Go calls itself 0.0.0-DEV: the server's version tells
}

function reason(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}
