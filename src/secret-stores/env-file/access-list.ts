import { execa } from 'execa';

/**
 * Whether a file has an access control list (acl(5)). Node cannot ask, and GNU's ls can: it shows a `+` behind the mode.
 * False where there is no such ls.
 */
export async function hasAccessList(path: string): Promise<boolean> {
  const { stdout } = await execa('ls', ['-ld', '--', path], {
    stdin: 'ignore',
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
    extendEnv: false,
    reject: false,
    timeout: 5_000,
  });
  return /^\S{10}\+ /.test(stdout);
}
