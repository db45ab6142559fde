import { majorOfPostgres } from '../../lab/postgres-binaries.ts';
import { judgeClientVersions, readClientVersions } from '../../src/rehearsal/client-programs.ts';

/** Why this machine's client programs of Postgres can make no clone by dump of the lab's server; undefined when they can. */
export async function cannotDump(): Promise<string | undefined> {
  const [finding] = judgeClientVersions(
    await readClientVersions(process.env.PATH ?? ''),
    await majorOfPostgres(),
  );
  return finding === undefined ? undefined : `found ${finding.found}, expected ${finding.expected}`;
}
