import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { ensurePostgresClients } from '../../lab/postgres-clients.ts';
import { judgeClientVersions } from '../../src/rehearsal/client-programs.ts';
import { onlyUnknownSettings } from '../../src/rehearsal/dump.ts';
import { dump } from '../reencryption/database.ts';
import { useTestDatabase } from '../reencryption/database-hooks.ts';
import type { Cloned } from './cloning-child.ts';

describe('the client programs of Postgres', () => {
  const judged = (pg_dump: number | undefined, pg_restore: number | undefined, server: number) =>
    judgeClientVersions({ pg_dump, pg_restore }, server).map(
      ({ severity, where, found, expected, next }) =>
        `${severity}: ${where}: found ${found}; expected ${expected}; ${next}`,
    );

  test.for([
    [15, 15, 15],
    [17, 17, 15],
    [16, 18, 15],
  ] as const)('of versions %d and %d do for a server of version %d', ([dump, restore, server]) => {
    expect(judged(dump, restore, server)).toEqual([]);
  });

  test('that are older than the server block, with the version that is needed', () => {
    const [pgDump, pgRestore] = judged(15, 15, 18);
    expect(pgDump).toBe(
      "blocking: pg_dump on the worker's PATH: found pg_dump of version 15; expected one of version 18 or newer, as the server is; " +
        "install the client programs of Postgres 18 or newer (Debian: postgresql-client-18), or add the directory of those that there are to the worker's PATH",
    );
    expect(pgRestore).toContain('found pg_restore of version 15; expected one of version 18');
  });

  test('block when the one that reads is older than the one that writes', () => {
    expect(judged(17, 15, 15)).toEqual([
      expect.stringMatching(
        /^blocking: pg_restore .* version 15; expected one of version 17 .* as pg_dump is/,
      ),
    ]);
  });
});

/** Looks and clones with the client programs of one directory, and no others. */
async function cloneWith(directory: string, url: string): Promise<Cloned> {
  const child = new URL('./cloning-child.ts', import.meta.url).pathname;
  const env = { PATH: directory, CLONE_URL: url };
  return JSON.parse((await execa(process.execPath, [child], { env, extendEnv: false })).stdout) as Cloned;
}

describe('on a host where they cannot be run', () => {
  const lab = useTestDatabase();

  test('a rehearsal blocks, and a clone that is made all the same says that it is they', async () => {
    const { findings, error } = await cloneWith('/nowhere', lab.url);
    expect(findings.map(({ found }) => found)).toEqual([
      'no pg_dump that can be run',
      'no pg_restore that can be run',
    ]);
    expect(error).toMatch(
      /pg_dump: found no such program on the worker's PATH that can be run; expected .*; install them/,
    );
  });
});

const clients = await ensurePostgresClients().catch((error: unknown) => String(error));

describe.skipIf(!clients.startsWith('/'))("with those of version 18 on the worker's PATH", () => {
  const lab = useTestDatabase({ major: 18 });

  test('a clone by dump holds every row of a Postgres 18, and what it derives from them', async () => {
    await lab.client.query(`alter table "LiteLLM_CredentialsTable"
      add column api_key text generated always as (credential_values ->> 'api_key') virtual`);
    const before = await dump(lab.client, ['LiteLLM_SpendLogs']);
    const { findings, error, cloned } = await cloneWith(clients, lab.url);
    expect({ findings, error }).toEqual({ findings: [] });
    expect(cloned).toEqual({ ...before, LiteLLM_SpendLogs: [] });
  });
});

describe('what pg_restore says at the end', () => {
  // Of version 17.10, on a server of version 15.18.
  const unknown = (name: string) =>
    `pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter "${name}"\nCommand was: SET ${name} = 0;\n`;
  const ignored = (errors: number) => `pg_restore: warning: errors ignored on restore: ${errors}`;
  const other =
    'pg_restore: error: could not execute query: ERROR:  permission denied for schema public\nCommand was: CREATE TABLE public.t ();\n\n\n';

  test('is no failure when only settings are named that an older server does not know', () => {
    expect(onlyUnknownSettings(unknown('transaction_timeout') + ignored(1))).toBe(true);
    expect(onlyUnknownSettings(unknown('transaction_timeout') + unknown('later') + ignored(2))).toBe(true);
  });

  test.for([
    ['another error stands beside it', unknown('transaction_timeout') + other + ignored(2)],
    ['it did not come to its end', unknown('transaction_timeout')],
    ['it counts more than it has named', unknown('transaction_timeout') + ignored(2)],
    ['it says nothing', ''],
  ])('is a failure when %s', ([, stderr]) => {
    expect(onlyUnknownSettings(stderr ?? '')).toBe(false);
  });
});
