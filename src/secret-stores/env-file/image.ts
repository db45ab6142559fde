import { constants } from 'node:fs';
import { attempt } from './file-system.ts';
import type { FileSystem } from './file-system.ts';

/** A file as it stands: what a restore must bring back. */
export interface FileImage {
  /** With every symlink resolved: the name that a rename replaces, so that symlinks stay. */
  readonly realPath: string;
  /** Permission bits only. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Names of the same inode. */
  readonly links: number;
  readonly regular: boolean;
  readonly bytes: Buffer;
}

/** Reads a file and its metadata through one descriptor, so that both are of the same inode. */
export async function readImage(fs: FileSystem, path: string): Promise<FileImage> {
  return attempt('read', path, async () => {
    const realPath = await fs.realpath(path);
    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
    const handle = await fs.open(realPath, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const { mode, uid, gid, nlink } = await handle.stat();
      const regular = (mode & constants.S_IFMT) === constants.S_IFREG;
      const bytes = regular ? await handle.readFile() : Buffer.alloc(0);
      return { realPath, mode: mode & 0o7777, uid, gid, links: nlink, regular, bytes };
    } finally {
      await handle.close();
    }
  });
}
