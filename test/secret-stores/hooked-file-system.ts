import * as promises from 'node:fs/promises';
import type { FileSystem } from '../../src/secret-stores/env-file/file-system.ts';

/** The calls that change something on disk, or its durability; a crash between two others is a crash at the next of these. */
export const changingCalls: ReadonlySet<string> = new Set(
  'mkdir,open wx,file.writeFile,file.chown,file.chmod,file.sync,link,rename,unlink,rmdir'.split(','),
);

/** Node's file system, with a hook in front of every call, those of open files included. A hook is told the call's name. */
export function hookedFileSystem(before: (call: string) => Promise<void>): FileSystem {
  const hook = <Target extends object>(target: Target, prefix: string): Target =>
    new Proxy(target, {
      get(_, name) {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== 'function' || name === 'then') return member;
        return async (...args: unknown[]) => {
          await before(`${prefix}${String(name)}${args[1] === 'wx' ? ' wx' : ''}`);
          const result: unknown = await Reflect.apply(member, target, args);
          return name === 'open' ? hook(result as object, 'file.') : result;
        };
      },
    });
  return hook({ ...promises }, '');
}
