import { appendFile, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { createPreflightActivities } from '../../src/activities/preflight.ts';
import { decideCase } from '../../src/rotation/case.ts';
import { fence, job, run, serve, useDaemon } from './daemon.ts';

const [current, another] = [`sk-${'a'.repeat(43)}`, `sk-${'b'.repeat(43)}`];
const master = `LITELLM_MASTER_KEY=${current}\n`;
const salt = `LITELLM_SALT_KEY=${another}\n`;
const rotationCase = decideCase(true, ['master', 'salt']);
const { signal } = new AbortController();

describe('the look at the service', () => {
  /** What preflight says of a process that was started with one text of the key file, and of a file with another. */
  async function inspectAfter(started: string, then: string) {
    const { service, keysFile, ports } = await useDaemon(started);
    await service.start(fence, signal);
    await writeFile(keysFile, then);
    return run(() => createPreflightActivities(ports).inspectService({ ...job, rotationCase }));
  }

  test('finds nothing when the process was given the keys of the files', async () => {
    const seen = await inspectAfter(master + salt, master + salt);
    expect(seen.findings.filter(({ severity }) => severity !== 'note')).toEqual([]);
    expect(seen.detail).toMatch(/^running, pid \d+$/);
  });

  test.for([
    ['another master key', master, `LITELLM_MASTER_KEY=${another}\n`, 'LITELLM_MASTER_KEY', 'another value'],
    ['no salt key, and the files have one', master, master + salt, 'LITELLM_SALT_KEY', 'not given it'],
    ['a salt key, and the files have none', master + salt, master, 'LITELLM_SALT_KEY', 'another value'],
  ] as const)(
    'blocks when the process was given %s, and shows neither',
    async ([, started, then, name, found]) => {
      const { findings } = await inspectAfter(started, then);
      expect(findings.filter(({ severity }) => severity === 'blocking')).toMatchObject([
        {
          code: 'process-has-another-key',
          where: `service litellm, variable ${name}`,
          found: expect.stringContaining(found) as string,
        },
      ]);
      expect(JSON.stringify(findings)).not.toMatch(/sk-[ab]/);
    },
  );

  test('blocks when it is stopped: nothing can be proved of its keys', async () => {
    const { ports } = await useDaemon(master);
    const { findings } = await run(() =>
      createPreflightActivities(ports).inspectService({ ...job, rotationCase }),
    );
    expect(findings).toMatchObject([{ severity: 'blocking', code: 'service-not-running', found: 'stopped' }]);
  });

  test('warns of the decryption errors in the log of its start, and counts them for later', async () => {
    const { service, log, ports } = await useDaemon(master);
    await service.start(fence, signal);
    await appendFile(log, 'Error decrypting value for key: api_key, ...\n'.repeat(2));
    const seen = await run(() => createPreflightActivities(ports).inspectService({ ...job, rotationCase }));
    expect(seen.decryptionErrors).toBe(2);
    expect(seen.findings.filter(({ severity }) => severity !== 'note')).toMatchObject([
      { severity: 'warning', code: 'decryption-errors', found: '2 decryption errors since its start' },
    ]);
  });
});

describe('the look at the proxy', () => {
  const only = (key: string | undefined) => (key === current ? 200 : 401);

  async function inspect(answers: Parameters<typeof serve>[0]) {
    const proxy = await serve(answers);
    const { ports } = await useDaemon(master, { proxies: [proxy] });
    return run(() => createPreflightActivities(ports).inspectProxy(job));
  }

  test('names its models by their number and a digest, without what a canary has left', async () => {
    const [seen, left] = await Promise.all([
      inspect({ statusOf: only, models: ['a', 'b'] }),
      inspect({ statusOf: only, models: ['b', 'litellm-rotate-canary-0123456789ab', 'a'] }),
    ]);
    expect(seen).toMatchObject({ models: 2, findings: [] });
    expect(left).toMatchObject({ models: 2, modelsDigest: seen.modelsDigest });
    expect(await inspect({ statusOf: only, models: ['a', 'c'] })).not.toMatchObject({
      modelsDigest: seen.modelsDigest,
    });
  });

  test.for([
    ['it is not ready', 'proxy-not-ready', { ready: { status: 'unhealthy', db: 'Not connected' } }],
    ['it refuses the master key of the files', 'master-key-refused', { statusOf: () => 401 }],
    ['it accepts any key', 'any-key-accepted', { statusOf: () => 200 }],
    [
      'its answer to a random key is none',
      'any-key-accepted',
      { statusOf: (key: string | undefined) => (key === current ? 200 : 500) },
    ],
  ] as const)('blocks when %s', async ([, code, answers]) => {
    expect((await inspect(answers)).findings).toMatchObject([{ severity: 'blocking', code }]);
  });
});
