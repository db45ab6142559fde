import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Some text or bytes, and what to call it. */
export type Searched = readonly [where: string, content: string | Buffer];

/**
 * Where any of the keys stands: plain, in base64 (at each of the three offsets that it can have in a longer text),
 * base64url, or as the hex of its SHA-256. One line a hit, without the key.
 */
export function findKeys(keys: Readonly<Record<string, string>>, searched: Iterable<Searched>): string[] {
  const forms = Object.entries(keys).flatMap(([name, key]) =>
    formsOf(key).map(([form, text]) => [`${name}, ${form}`, text] as const),
  );
  const hits: string[] = [];
  for (const [where, content] of searched) {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    for (const [what, text] of forms) if (bytes.includes(text)) hits.push(`${where}: ${what}`);
  }
  return hits;
}

function formsOf(key: string): [form: string, text: string][] {
  const base64 = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), Buffer.from(key)])
      .toString('base64')
      .replace(/=+$/, '');
    // The characters at both ends also hold bits of their neighbours.
    return text.slice(offset === 0 ? 0 : offset + 1, -1);
  });
  const hex = createHash('sha256').update(key).digest('hex');
  return [
    ['plain', key],
    ...base64.flatMap((text): [string, string][] => [
      ['base64', text],
      ['base64url', text.replaceAll('+', '-').replaceAll('/', '_')],
    ]),
    ['sha256', hex],
    ['sha256', createHash('sha256').update(key).digest('base64').slice(0, 42)],
  ];
}

/** Every file below a directory. */
export async function filesBelow(directory: string): Promise<Searched[]> {
  const found: Searched[] = [];
  for (const name of await readdir(directory, { recursive: true })) {
    const path = join(directory, name);
    const content = await stat(path)
      .then((entry) => (entry.isFile() ? readFile(path) : undefined))
      .catch(() => undefined);
    if (content !== undefined) found.push([path, content]);
  }
  return found;
}

/** Every payload of a history, decoded: `temporal workflow show` prints them in base64. */
export function payloadsOf(history: unknown): Searched[] {
  const found: Searched[] = [];
  const walk = (value: unknown, path: string): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [name, child] of Object.entries(value)) {
      if (name === 'data' && typeof child === 'string')
        found.push([`history${path}`, Buffer.from(child, 'base64')]);
      else walk(child, `${path}.${name}`);
    }
  };
  walk(history, '');
  return found;
}

/** Notes every command line of this machine, as `ps` would show it, until it is stopped. */
export function watchCommandLines(everyMs = 20): { stop(): Promise<Searched[]> } {
  const seen = new Map<string, string>();
  const stopped = new AbortController();
  const watching = (async () => {
    while (!stopped.signal.aborted) {
      for (const pid of await readdir('/proc')) {
        if (!/^\d+$/.test(pid)) continue;
        const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
        if (line !== '') seen.set(line, pid);
      }
      await sleep(everyMs, undefined, { signal: stopped.signal }).catch(() => undefined);
    }
  })();
  return {
    async stop() {
      stopped.abort();
      await watching;
      return [...seen].map(([line, pid]): Searched => [`command line of pid ${pid}`, line]);
    },
  };
}
