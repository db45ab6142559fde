import { constants } from 'node:fs';
import { dirname } from 'node:path';
import { RotationError } from '../../rotation/failure.ts';
import type { Finding } from '../../rotation/finding.ts';
import { errnoOf } from './file-system.ts';
import type { FileSystem } from './file-system.ts';
import { hasAccessList } from './access-list.ts';
import { readImage } from './image.ts';
import type { FileImage } from './image.ts';
import { isMountPoint } from './mount-points.ts';
import type { EnvFile } from './options.ts';

/** A look at one file: its image (if it can be used), and what stands in the way of replacing it. */
export async function lookAtFile(
  fs: FileSystem,
  { path }: EnvFile,
): Promise<{ readonly image: FileImage | undefined; readonly findings: readonly Finding[] }> {
  let image: FileImage;
  try {
    image = await readImage(fs, path);
  } catch (error) {
    if (!(error instanceof RotationError)) throw error;
    return {
      image: undefined,
      findings: [unreadable(path, error)],
    };
  }
  if (!image.regular) {
    return {
      image: undefined,
      findings: [
        blocking(
          'not-a-regular-file',
          path,
          'something else than a regular file',
          'a regular file',
          'correct the path in the configuration',
        ),
      ],
    };
  }
  return {
    image,
    findings: [
      ...ownershipFindings(path, image),
      ...(await accessListFindings(path, image)),
      ...(await directoryFindings(fs, path, image)),
      ...(await renameFindings(fs, path, image)),
    ],
  };
}

function ownershipFindings(path: string, { mode, uid, gid, links }: FileImage): Finding[] {
  const findings: Finding[] = [];
  const user = process.geteuid?.();
  const groups = [process.getegid?.(), ...(process.getgroups?.() ?? [])];
  if (user !== 0 && (uid !== user || !groups.includes(gid))) {
    findings.push(
      blocking(
        'owned-by-another',
        path,
        `the owner ${uid}:${gid}, which the worker (user ${user}) cannot give to a new file`,
        "a file of the worker's user and of one of its groups",
        `run the worker as root or as the owner, or: chown ${user} ${path}`,
      ),
    );
  }
  if (links > 1) {
    findings.push(
      blocking(
        'hard-linked',
        path,
        `${links} names for the file: the others would keep the previous key`,
        'one name',
        `find the others with: find / -xdev -samefile ${path}; remove them, or make them symlinks`,
      ),
    );
  }
  if ((mode & 0o177) !== 0) {
    findings.push({
      severity: 'warning',
      code: 'mode-too-wide',
      where: path,
      found: `mode ${mode.toString(8).padStart(4, '0')}; it is kept as it is`,
      expected: 'mode 0600, which is enough for systemd: it reads the file as root',
      next: `chmod 600 ${path}`,
    });
  }
  return findings;
}

/**
 * The mask of a list stands where the mode has the group's rights: with none there, the list gives nobody anything; with
 * some, the group would have them once the list is gone, and whom the directory's own list names has them in a new file.
 */
async function accessListFindings(path: string, { realPath, mode }: FileImage): Promise<Finding[]> {
  if ((mode & 0o070) === 0) return [];
  const directory = dirname(realPath);
  if (!(await hasAccessList(realPath))) {
    if (!(await hasAccessList(directory))) return [];
    return [
      blocking(
        'access-list-of-directory',
        path,
        `an access control list on its directory, ${directory}, of which the new file that takes its place could get a part, and with it readers that the file does not have now`,
        'owner, group and mode alone to say who may read it',
        `take its rights from the group: chmod g= ${path}; or run: setfacl --remove-all ${directory}`,
      ),
    ];
  }
  return [
    blocking(
      'access-list',
      path,
      'an access control list, which the new file that takes its place would not have: whom it names could not read the keys any more, and the group could',
      'owner, group and mode alone to say who may read it',
      `give LiteLLM's user the file as its owner or by its group, then: setfacl --remove-all ${path}`,
    ),
  ];
}

/** The file is replaced by renaming, for which its directory must be writable. */
async function directoryFindings(fs: FileSystem, path: string, { realPath }: FileImage): Promise<Finding[]> {
  const directory = dirname(realPath);
  // Where ProtectHome= has closed a home itself, ReadWritePaths= does not open it again.
  const opening = ['/root', '/home'].includes(directory) ? 'ProtectHome=no' : `ReadWritePaths=${directory}`;
  try {
    await fs.access(directory, constants.W_OK | constants.X_OK);
    return [];
  } catch {
    return [
      blocking(
        'directory-not-writable',
        path,
        `a directory that the worker cannot write to, ${directory}`,
        'a writable one: the file is replaced by renaming',
        `run the worker as the owner of ${directory}, or put ${opening} into the worker's unit`,
      ),
    ];
  }
}

/** A rename over a file needs no right to the file itself, but these two stand in its way. */
async function renameFindings(fs: FileSystem, path: string, { realPath }: FileImage): Promise<Finding[]> {
  if (await isMountPoint(realPath)) {
    return [
      blocking(
        'mounted-by-itself',
        path,
        'a file that is mounted by itself, over which nothing can be renamed',
        `a mount of its directory, ${dirname(realPath)}, or none: the file is replaced by renaming`,
        "mount the directory in place of the file (volumes: of the worker's container; ReadWritePaths= and BindPaths= of its unit)",
      ),
    ];
  }
  // An owner or root without the right to write gets EACCES, or is not asked.
  const errno = await fs.access(realPath, constants.W_OK).then(() => undefined, errnoOf);
  if (errno !== 'EPERM') return [];
  return [
    blocking(
      'immutable',
      path,
      'a file that is marked as immutable, over which nothing can be renamed',
      'a file that can be replaced',
      `chattr -i ${realPath}`,
    ),
  ];
}

function unreadable(path: string, { facts }: RotationError): Finding {
  const errno = typeof facts?.['errno'] === 'string' ? facts['errno'] : 'unknown error';
  return errno === 'ENOENT'
    ? blocking(
        'file-missing',
        path,
        'no such file',
        'the file that the service reads',
        'correct the path in the configuration, or take the file out of it',
      )
    : blocking(
        'file-unreadable',
        path,
        `a file that cannot be read (${errno})`,
        'a readable file',
        'run the worker as root or as the owner of the file',
      );
}

function blocking(code: string, where: string, found: string, expected: string, next: string): Finding {
  return { severity: 'blocking', code, where, found, expected, next };
}
