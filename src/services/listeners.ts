import type { Host } from './host.ts';

/**
 * The users, other than root, that listen on a TCP port of this machine and have none of these processes: what is sent there
 * is not for the service. None where it cannot be told.
 */
export async function strangersOn(
  host: Pick<Host, 'readFile'>,
  port: number,
  pids: readonly number[],
): Promise<number[]> {
  const text = (path: string) =>
    host.readFile(path).then(
      (bytes) => bytes.toString('utf8'),
      () => '',
    );
  const statuses = await Promise.all(pids.map((pid) => text(`/proc/${pid}/status`)));
  const own = statuses.flatMap(usersOf);
  if (own.length === 0) return [];
  const tables = await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map(text));
  const listening = new Set(tables.flatMap((table) => listeningUsers(table, port)));
  return [...listening].filter((user) => user !== 0 && !own.includes(user));
}

/** proc_net_tcp(5): local address and port, remote ones, state, two pairs, a count, the user; in hex, 0A is LISTEN. */
function listeningUsers(table: string, port: number): number[] {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return table.split('\n').flatMap((line) => {
    const [, address = '', , state, , , , user] = line.trim().split(/\s+/);
    return state === '0A' && address.endsWith(local) ? [Number(user)] : [];
  });
}

/** proc_pid_status(5): the real, effective, saved and file system user. */
function usersOf(status: string): number[] {
  const [, users = ''] = /^Uid:\s+(.*)$/m.exec(status) ?? [];
  return users.split(/\s+/).filter(Boolean).map(Number);
}
