import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/** Whether a program can be run: at its path, from `cwd` where that is relative, or in a directory of `searchPath`. */
export async function isRunnable(
  file: string,
  { cwd = '.', searchPath }: { readonly cwd?: string | undefined; readonly searchPath: string },
): Promise<boolean> {
  const candidates = file.includes('/')
    ? [join(file.startsWith('/') ? '' : cwd, file)]
    : searchPath.split(delimiter).map((directory) => join(directory, file));
  const found = await Promise.all(
    candidates.map(async (path) => {
      const isExecutable = await access(path, constants.X_OK).then(
        () => true,
        () => false,
      );
      return isExecutable && !(await isDirectory(path));
    }),
  );
  return found.includes(true);
}

export async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
