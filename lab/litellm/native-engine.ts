import { execa } from 'execa';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { say } from '../report.ts';
import { versions } from '../versions.ts';

/** Where Prisma serves its engines; PRISMA_ENGINES_MIRROR is Prisma's own variable for another place. */
const host = (): string => process.env.PRISMA_ENGINES_MIRROR || 'https://binaries.prisma.sh';

/**
 * Fetches Prisma's native query engine as `native` into `directory`, and says whether there is one that runs. Asks the
 * host for at most 5 s: a closed network is no error, since there is our own.
 */
export async function nativeEngine(python: string, directory: string): Promise<boolean> {
  try {
    const { stdout: platform } = await execa(python, [
      '-c',
      'from prisma.binaries.platform import binary_platform; print(binary_platform())',
    ]);
    const url = `${host()}/all_commits/${versions.prismaEngine}/${platform}/query-engine.gz`;
    await fetch(url, { method: 'HEAD', signal: AbortSignal.timeout(5000) });
    const answer = await fetch(url, { signal: AbortSignal.timeout(120_000) });
    if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
    const engine = await promisify(gunzip)(Buffer.from(await answer.arrayBuffer()));
    await writeFile(join(directory, 'native.part'), engine, { mode: 0o755 });
    await execa(join(directory, 'native.part'), ['--version']);
    await rename(join(directory, 'native.part'), join(directory, 'native'));
    return true;
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    say(`litellm: no native Prisma engine (${String(cause)}), so the WebAssembly one`);
    return false;
  }
}
