import { execa } from 'execa';

/** Runs a file of SQL by psql, which is given its connection, and `env` beside it, in the environment. Rejects when psql fails. */
export function runSqlFile(
  url: URL,
  file: string,
  { flags = [], env = {} }: { flags?: readonly string[]; env?: Readonly<Record<string, string>> } = {},
) {
  const { hostname, port, username, password, pathname } = url;
  return execa('psql', ['--no-psqlrc', ...flags, '--file', file], {
    env: {
      PATH: process.env['PATH'] ?? '',
      PGHOST: hostname,
      PGPORT: port,
      PGUSER: decodeURIComponent(username),
      PGPASSWORD: decodeURIComponent(password),
      PGDATABASE: decodeURIComponent(pathname.slice(1)),
      ...env,
    },
    extendEnv: false,
    all: true,
  });
}
