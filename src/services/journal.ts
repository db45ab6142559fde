import { succeeded } from './host.ts';
import type { Host } from './host.ts';

const readMs = 30_000;

/**
 * The last lines of one start of a unit: what its processes wrote (_SYSTEMD_INVOCATION_ID) and what the service manager
 * wrote about it (INVOCATION_ID, USER_INVOCATION_ID); see systemd.journal-fields(7). Undefined without a readable journal.
 */
export async function journalLines(
  host: Host,
  invocation: string,
  lines: number,
  environment: Readonly<Record<string, string>>,
): Promise<readonly string[] | undefined> {
  const options = { timeoutMs: readMs, environment };
  // Lines may still be in journald's hands. Needs root; without it, the last second may be missing.
  await host.run('journalctl', ['--sync'], options);
  const matches = ['_SYSTEMD_INVOCATION_ID', 'INVOCATION_ID', 'USER_INVOCATION_ID'].map(
    (name) => `${name}=${invocation}`,
  );
  const query = ['--no-pager', '--quiet', '--all', '--output=json', `--lines=${lines}`];
  const outcome = await host.run(
    'journalctl',
    [...query, ...matches.flatMap((match) => ['+', match]).slice(1)],
    options,
  );
  if (!succeeded(outcome)) return undefined;
  return outcome.stdout.split('\n').filter(Boolean).flatMap(journalMessage);
}

/** The text of one line of `journalctl -o json`. A message that is not plain UTF-8 is an array of its bytes. */
export function journalMessage(line: string): string[] {
  const entry: unknown = JSON.parse(line);
  const message =
    typeof entry === 'object' && entry !== null && 'MESSAGE' in entry ? entry.MESSAGE : undefined;
  if (typeof message === 'string') return [message];
  if (!Array.isArray(message)) return [];
  if (message.every((byte) => typeof byte === 'number')) return [Buffer.from(message).toString('utf8')];
  return message.filter((part) => typeof part === 'string');
}
