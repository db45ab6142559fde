import { accessSync, constants } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { CommandError, exitCodes } from './exit.ts';

/**
 * Becomes another program (execve(2)): the same process id, streams and environment, so that a service manager and a
 * container's init see the program itself. Returns only by throwing.
 */
export function become([file = '', ...args]: readonly string[]): never {
  const path = isAbsolute(file) || file.includes('/') ? file : findOnPath(file);
  if (path === undefined || !isExecutable(path)) {
    throw new CommandError(
      exitCodes.usage,
      `found no program ${file} that can be run; expected one after "guard"`,
    );
  }
  const env = Object.fromEntries(Object.entries(process.env).map(([name, value]) => [name, value ?? '']));
  process.removeAllListeners('warning');
  return process.execve?.(path, [file, ...args], env) as never;
}

function findOnPath(file: string): string | undefined {
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '');
  return directories.map((directory) => join(directory, file)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
