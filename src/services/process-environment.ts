import { Secret } from '../rotation/secret.ts';
import type { GivenValue } from './port.ts';

/** The environment that one process was started with. */
export interface ProcessEnvironment {
  readonly values: ReadonlyMap<string, string>;
  /** False when part of it may be missing: unreadable, or overwritten by the process. */
  readonly whole: boolean;
}

/** A process whose environment we may not read. */
export const unreadableEnvironment: ProcessEnvironment = { values: new Map(), whole: false };

/**
 * Parses /proc/PID/environ: the environment at exec, as NUL-ended `NAME=value` (proc_pid_environ(5)). A process that
 * sets its title (setproctitle, as gunicorn does) writes over it and fills the rest with NULs, so an entry that is
 * empty, or is no `NAME=value`, means that names may be missing.
 */
export function parseEnviron(bytes: Buffer): ProcessEnvironment {
  const entries = bytes.toString('utf8').split('\0');
  if (entries.at(-1) === '') entries.pop();
  const values = new Map<string, string>();
  let whole = entries.length > 0;
  for (const entry of entries) {
    const [, name, value] = /^([^\s=]+)=(.*)$/s.exec(entry) ?? [];
    if (name === undefined || value === undefined) whole = false;
    // getenv(3) returns the first of two entries with the same name.
    else if (!values.has(name)) values.set(name, value);
  }
  return { values, whole };
}

/**
 * What the processes of one service were given. With a wrapper in front, the service is several processes: all that have
 * the name must agree, and a name is `absent` only when every process could be read whole and none has it.
 */
export function givenValues(
  names: readonly string[],
  environments: readonly ProcessEnvironment[],
): ReadonlyMap<string, GivenValue> {
  const readAll = environments.length > 0 && environments.every(({ whole }) => whole);
  return new Map(
    names.map((name): [string, GivenValue] => {
      const given = new Set(
        environments.map(({ values }) => values.get(name)).filter((value) => value !== undefined),
      );
      const [value] = given;
      if (value === undefined) return [name, readAll ? 'absent' : 'unknown'];
      return [name, given.size === 1 ? { given: new Secret(value) } : 'unknown'];
    }),
  );
}
