import { readFile, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Client } from '@temporalio/client';

/** Names of core files, by the kernel's default and systemd's. */
const core = /^core(\.|$)|\.core$/;

/**
 * Looks for secrets where none may be: everything that a run has left in its directory (logs, temporary files), but for
 * the files that hold keys by right; and the whole history of the workflow, as the server exports it. A core dump is a
 * finding by itself. Returns places, never what was found there.
 */
export async function findLeaks(
  client: Client,
  workflowIds: readonly string[],
  directory: string,
  secrets: ReadonlySet<string>,
  allowed: readonly string[],
  logs: readonly { readonly path: string; readonly from: number }[],
): Promise<string[]> {
  const needles = [...secrets].flatMap((secret) => [
    secret,
    Buffer.from(secret).toString('base64').replace(/=+$/, ''),
  ]);
  const holds = (text: string): boolean =>
    needles.some((needle) => text.includes(needle)) || text.includes('PLAIN-');
  const places: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || allowed.includes(path)) continue;
    if (core.test(basename(path))) places.push(`a core dump, ${entry.name}`);
    if (holds(await readFile(path, 'latin1'))) places.push(entry.name);
  }
  for (const { path, from } of logs) {
    if (holds((await readFile(path, 'latin1')).slice(from))) places.push(path);
  }
  for (const workflowId of workflowIds) {
    const history = await client.workflow.getHandle(workflowId).fetchHistory();
    if (holds(textOf(history))) places.push(`the history of ${workflowId}`);
  }
  return places;
}

/** Every string and every byte of a decoded message. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return `${value}\n`;
  if (value instanceof Uint8Array) return `${Buffer.from(value).toString('latin1')}\n`;
  if (typeof value !== 'object' || value === null) return '';
  return Object.values(value).map(textOf).join('');
}
