import type { Finding } from '../rotation/finding.ts';
import { run, succeeded } from '../services/host.ts';

const programs = ['pg_dump', 'pg_restore'] as const;
type Program = (typeof programs)[number];

/** The major version of each program that copies a schema; undefined where it cannot be run. */
export type ClientVersions = Readonly<Record<Program, number | undefined>>;

/** @param searchPath where they are looked for, as PATH has it */
export async function readClientVersions(searchPath: string): Promise<ClientVersions> {
  return {
    pg_dump: await majorOf('pg_dump', searchPath),
    pg_restore: await majorOf('pg_restore', searchPath),
  };
}

async function majorOf(program: Program, searchPath: string): Promise<number | undefined> {
  const environment = { PATH: searchPath };
  const outcome = await run(program, ['--version'], { timeoutMs: 10_000, environment });
  const major = /\) (\d+)/.exec(outcome.stdout)?.[1];
  return succeeded(outcome) && major !== undefined ? Number(major) : undefined;
}

/** Which of them is missing, or older than what it must read: pg_dump the server, pg_restore what pg_dump has written. */
export function judgeClientVersions(versions: ClientVersions, server: number): Finding[] {
  const { pg_dump: dump = server } = versions;
  const wanted: Readonly<Record<Program, readonly [number, string]>> = {
    pg_dump: [server, 'the server'],
    pg_restore: dump > server ? [dump, 'pg_dump'] : [server, 'the server'],
  };
  return programs.flatMap((program): Finding[] => {
    const [major, writer] = wanted[program];
    const found = versions[program];
    if (found !== undefined && found >= major) return [];
    return [
      {
        severity: 'blocking',
        code: `rehearsal-no-${program.replace('_', '-')}`,
        where: `${program} on the worker's PATH`,
        found: found === undefined ? `no ${program} that can be run` : `${program} of version ${found}`,
        expected: `one of version ${major} or newer, as ${writer} is`,
        next: `install the client programs of Postgres ${major} or newer (Debian: postgresql-client-${major}), or add the directory of those that there are to the worker's PATH`,
      },
    ];
  });
}
