import { execa } from 'execa';
import { pipeline } from 'node:stream/promises';
import { escapeIdentifier } from 'pg';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { Secret } from '../rotation/secret.ts';
import { libpqEnvironment } from './connection-string.ts';

export interface DumpOptions {
  readonly from: Secret;
  readonly to: Secret;
  readonly schema: string;
  /** Tables that come without their rows: request logs and usage counters. */
  readonly withoutRows: readonly string[];
  /** Tables that do not come at all: their rows are on another server. */
  readonly without: readonly string[];
  /** Where the programs are looked for, as PATH has it. */
  readonly searchPath: string;
}

/**
 * Copies LiteLLM's schema into an empty database, through a pipe: nothing of it is on this machine's disk. All that is
 * copied belongs to the role of `to`. Sessions of others go on, and a writer does not wait for it.
 */
export async function dumpAndRestore(options: DumpOptions, signal: AbortSignal): Promise<void> {
  const { schema } = options;
  const dump = start(
    'pg_dump',
    [
      '--format=custom',
      '--compress=0',
      '--no-owner',
      '--no-privileges',
      '--no-publications',
      '--no-subscriptions',
      `--schema=${pattern(schema)}`,
      ...options.withoutRows.map((table) => `--exclude-table-data=${pattern(schema)}.${pattern(table)}`),
      ...options.without.map((table) => `--exclude-table=${pattern(schema)}.${pattern(table)}`),
    ],
    options.from,
    options.searchPath,
    signal,
  );
  const target = libpqEnvironment(options.to).PGDATABASE ?? '';
  const restore = start(
    'pg_restore',
    [
      '--no-owner',
      '--no-privileges',
      // Another server has others, and the role need not have a right to those of this one.
      '--no-tablespaces',
      // A new database has this one already; any other is made as the archive says.
      ...(schema === 'public' ? ['--schema=public'] : []),
      `--dbname=${target}`,
    ],
    options.to,
    options.searchPath,
    signal,
  );
  // One that ends early breaks the pipe; how each ended is what counts.
  const piped = pipeline(dump.stdout, restore.stdin).catch(() => undefined);
  const [dumped, restored] = await Promise.all([dump, restore, piped]);
  signal.throwIfAborted();
  mustHaveRun('pg_dump', dumped);
  mustHaveRun('pg_restore', restored);
  const wrong = restored.failed && !onlyUnknownSettings(restored.stderr);
  // A reader that is gone ends the writer, too: then the reader's own words say why.
  if (wrong && !(dumped.failed && dumped.stderr !== '')) throw failed('pg_restore', restored);
  if (dumped.failed) throw failed('pg_dump', dumped);
}

function start(
  program: string,
  args: readonly string[],
  connectionString: Secret,
  searchPath: string,
  signal: AbortSignal,
) {
  return execa(program, args, {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
    buffer: { stdout: false, stderr: true },
    encoding: 'utf8',
    reject: false,
    extendEnv: false,
    env: { PATH: searchPath, LC_ALL: 'C', ...libpqEnvironment(connectionString) },
    cancelSignal: signal,
    forceKillAfterDelay: 2_000,
  });
}

/** In the patterns of pg_dump, a name in quotes stands for itself, as in SQL. */
const pattern = escapeIdentifier;

/** What these programs say is shown only where it is known to hold no row. */
const harmless =
  /permission denied for [a-z ]+ "?[\w-]+"?|server version mismatch|Connection refused|certificate verify failed|root certificate file "[^"]+" does not exist|password authentication failed|No space left on device|disk full|(?:role|schema|extension|type|relation) "[\w.-]+" (?:does not exist|already exists|is not available)|canceling statement due to [a-z ]+/i;

const diskFull = /No space left on device|disk full/i;

/** What is read of how one of them ended. */
interface Ended {
  readonly stderr: string;
  readonly code?: string | undefined;
  readonly exitCode?: number | undefined;
}

function mustHaveRun(program: string, { code }: Ended): void {
  if (code !== 'ENOENT' && code !== 'EACCES') return;
  throw new RotationError(
    failureTypes.refused,
    `${program}: found no such program on the worker's PATH that can be run; expected the client programs of Postgres; install them (Debian: postgresql-client)`,
  );
}

const unknownSetting =
  /^pg_restore: error: could not execute query: ERROR: +unrecognized configuration parameter "(\w+)"\nCommand was: SET \1 = \w+;$/gm;

/**
 * Whether nothing went wrong but that the server is older than pg_restore and lacks one of the settings that it begins
 * with: transaction_timeout, for 17 and later. It goes on after an error, and counts them in the end.
 */
export function onlyUnknownSettings(stderr: string): boolean {
  const errors = /^pg_restore: warning: errors ignored on restore: (\d+)$/m.exec(stderr)?.[1];
  return errors !== undefined && [...stderr.matchAll(unknownSetting)].length === Number(errors);
}

function failed(program: string, { stderr, code, exitCode }: Ended): RotationError {
  const words = harmless.exec(stderr)?.[0];
  // Of a full disk, no attempt more: LiteLLM's own database may be on it.
  const final = words !== undefined && diskFull.test(words);
  return new RotationError(
    final ? failureTypes.refused : failureTypes.databaseFailed,
    `${program} ended with ${exitCode ?? code ?? 'a signal'}${words === undefined ? '; what it said is withheld, as it could hold a row' : `: ${words}`}; expected a whole copy of LiteLLM's schema; run it by hand to see more`,
  );
}
