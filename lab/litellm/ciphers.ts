import { type ChildProcess, spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { untilStopped } from '../cleanup.ts';
import { ensureLiteLLM } from './install.ts';

/** LiteLLM's two formats of a sealed value: XSalsa20-Poly1305 without a marker, AES-256-GCM behind `v2:gcm:`. */
export type SealFormat = 'legacy' | 'v2';

/** LiteLLM's own functions, in a Python process that stays until `stop`. */
export interface LiteLLMCiphers {
  /** Seals each text, as `encrypt_value_helper` does. */
  seal(texts: readonly string[], key: string, format: SealFormat): Promise<string[]>;
  /** Opens each text as `decrypt_if_encrypted_with` does: undefined for what is no sealed value under the key. */
  open(texts: readonly string[], key: string): Promise<(string | undefined)[]>;
  stop(): Promise<void>;
}

/** Starts the process; importing LiteLLM takes some seconds, a batch of a thousand values some milliseconds. */
export async function startLiteLLMCiphers(): Promise<LiteLLMCiphers> {
  const install = await ensureLiteLLM();
  const bridge = fileURLToPath(new URL('ciphers.py', import.meta.url));
  const child = spawn(install.python, [bridge], {
    env: { ...install.env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = untilStopped(
    async () => {
      child.ref();
      child.stdin.end();
      await gone;
    },
    () => child.kill('SIGKILL'),
  );
  const ask = questions(child);
  await ask(undefined);
  const values = async (request: object): Promise<(string | null)[]> => {
    const answer = await ask(request);
    if (answer.values === undefined) throw new Error(answer.error ?? 'LiteLLM gave no answer');
    return answer.values;
  };
  return {
    seal: async (texts, key, format) =>
      (await values({ do: 'seal', format, key, values: texts })).map((text) => text ?? ''),
    open: async (texts, key) =>
      (await values({ do: 'open', key, values: texts })).map((text) => text ?? undefined),
    stop,
  };
}

interface Answer {
  readonly ready?: true;
  readonly values?: (string | null)[];
  readonly error?: string;
}

/** One line is one answer, in the order of the questions. */
function questions(child: ChildProcess): (request: object | undefined) => Promise<Answer> {
  const waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void }[] = [];
  if (child.stdout === null || child.stdin === null) throw new Error('the bridge has no pipes');
  createInterface({ input: child.stdout })
    .on('line', (line) => waiting.shift()?.resolve(JSON.parse(line) as Answer))
    .on('close', () => {
      for (const { reject } of waiting.splice(0)) reject(new Error("LiteLLM's cipher process ended"));
    });
  const { stdin, stdout } = child;
  // Only a question that waits for its answer keeps this process from ending.
  const hold = (verb: 'ref' | 'unref'): void => {
    for (const part of [child, stdin, stdout]) if (part instanceof Socket || part === child) part[verb]();
  };
  return async (request) => {
    hold('ref');
    try {
      return await new Promise<Answer>((resolve, reject) => {
        waiting.push({ resolve, reject });
        if (request !== undefined) stdin.write(`${JSON.stringify(request)}\n`);
      });
    } finally {
      if (waiting.length === 0) hold('unref');
    }
  };
}

let shared: Promise<LiteLLMCiphers> | undefined;

/** Seals texts with LiteLLM's own code, in a process that all calls share until `stopAll` or the end of this process. */
export async function sealWithLiteLLM(
  texts: readonly string[],
  key: string,
  format: SealFormat,
): Promise<string[]> {
  return (await (shared ??= startLiteLLMCiphers())).seal(texts, key, format);
}

/** Opens texts with LiteLLM's own code: undefined for what is no sealed value under the key. */
export async function openWithLiteLLM(
  texts: readonly string[],
  key: string,
): Promise<(string | undefined)[]> {
  return (await (shared ??= startLiteLLMCiphers())).open(texts, key);
}
