import { execa } from 'execa';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort, onPath } from '../../lab/child.ts';
import { type Docker, canRunDocker, ensureCompose, startDocker } from '../../lab/docker.ts';

const cold = 900_000; // Compose may have to be built

let project: string;
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'docker-test-'));
});
afterAll(() => rm(project, { recursive: true }));

test.skipIf(onPath('go') === undefined && onPath('docker') === undefined)(
  'Compose reads a project without an engine',
  { timeout: cold },
  async () => {
    await writeFile(
      join(project, 'plain.yaml'),
      'services:\n  api:\n    image: tiny:1\n    environment: [KEY_ID=one]\n',
    );
    const { env } = await ensureCompose();
    const { stdout } = await execa(
      'docker',
      ['compose', '-f', join(project, 'plain.yaml'), 'config', '--format', 'json'],
      { env },
    );
    expect(JSON.parse(stdout)).toMatchObject({ services: { api: { environment: { KEY_ID: 'one' } } } });
  },
);

describe.skipIf((await canRunDocker()) !== undefined)('a Docker engine', () => {
  let docker: Docker;
  beforeAll(async () => void (docker = await startDocker()), cold);
  afterAll(() => docker.stop(), 60_000);

  test(
    'runs the tiny image by Compose, healthy and with the environment it was given',
    { timeout: 60_000 },
    async () => {
      const image = `litellm-rotate-tiny:${process.pid}`;
      await docker.importTinyImage(image);
      const port = await freePort();
      const file = join(project, 'compose.yaml');
      const test = ['CMD', 'wget', '-q', '-O', '/dev/null', `http://127.0.0.1:${port}/key`];
      const api = {
        image,
        network_mode: 'host',
        environment: { KEY_ID: 'one', PORT: `${port}` },
        healthcheck: { test, interval: '200ms', retries: 20 },
        stop_grace_period: '1s',
      };
      await writeFile(file, JSON.stringify({ services: { api } })); // YAML holds JSON
      const compose = (...args: string[]): Promise<string> =>
        docker.run('compose', '-p', 'litellm-rotate-test', '-f', file, ...args);
      await compose('up', '-d', '--wait');
      try {
        const id = await compose('ps', '-q', 'api');
        const [container] = JSON.parse(await docker.run('inspect', id)) as {
          State: { Health: { Status: string } };
          Config: { Env: string[] };
        }[];
        expect(container?.State.Health.Status).toBe('healthy');
        expect(container?.Config.Env).toContain('KEY_ID=one');
        expect(await (await fetch(`http://127.0.0.1:${port}/key`)).text()).toBe('one');
      } finally {
        await compose('down');
      }
    },
  );
});
