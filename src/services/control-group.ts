import type { Host } from './host.ts';
import { parseEnviron, unreadableEnvironment } from './process-environment.ts';
import type { ProcessEnvironment } from './process-environment.ts';
import { isGone } from './process-table.ts';

const lookMs = 10_000;

/**
 * The processes in a control group and below it. None when it is gone: systemd removes the group of a service after the
 * last process has left (a zombie is not in it), and the kernel refuses to remove one that has any (cgroups(7)).
 */
export async function processesOf(host: Host, controlGroup: string | undefined): Promise<readonly number[]> {
  if (controlGroup === undefined || controlGroup === '/') return [];
  const pids = new Set<number>();
  for (const mount of await controlGroupMounts(host)) {
    // Fails where the group does not exist in this hierarchy, or a group below ended while it was read.
    const files = [`${mount}${controlGroup}`, '-name', 'cgroup.procs', '-exec', 'cat', '{}', '+'];
    const { stdout } = await host.run('find', files, { timeoutMs: lookMs });
    for (const line of stdout.split('\n')) if (/^[1-9]\d*$/.test(line)) pids.add(Number(line));
  }
  return [...pids];
}

/** The environment of a process that was found in one; undefined when the process has ended. */
export async function environmentOf(host: Host, pid: number): Promise<ProcessEnvironment | undefined> {
  try {
    return parseEnviron(await host.readFile(`/proc/${pid}/environ`));
  } catch (error) {
    return isGone(error) ? undefined : unreadableEnvironment;
  }
}

// Unified, hybrid and legacy layouts: cgroup2, and the named v1 hierarchy that older systemd tracks services in.
async function controlGroupMounts(host: Host): Promise<string[]> {
  const mounts = (await host.readFile('/proc/self/mounts')).toString('utf8').split('\n');
  return mounts.flatMap((line) => {
    const [, path = '', type, options = ''] = line.split(' ');
    const tracksServices =
      type === 'cgroup2' || (type === 'cgroup' && options.split(',').includes('name=systemd'));
    return tracksServices ? [path] : [];
  });
}
