import { readFile } from 'node:fs/promises';

/**
 * Whether something is mounted at exactly this path, so that nothing can be renamed over it (EBUSY): such as a single
 * file that a container was given. False where there is no /proc. Source: proc_pid_mountinfo(5).
 */
export async function isMountPoint(realPath: string): Promise<boolean> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  return mounts.split('\n').some((line) => unescape(line.split(' ')[4] ?? '') === realPath);
}

/** Blank, tab, newline and backslash stand as octal numbers. */
function unescape(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}
