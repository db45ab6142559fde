import { execa } from 'execa';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canRunDocker, type Docker, startDocker } from '../../lab/docker.ts';
import { parseConfig } from '../../src/config/config.ts';
import type { Fence } from '../../src/rotation/fence.ts';
import { createDockerComposeService } from '../../src/services/docker-compose-service.ts';
import { composeProject, initKeys, root } from './project.ts';

const why = await canRunDocker();
if (why !== undefined) console.log(`docker-compose.yml is not run: ${why}`);

const image = `litellm-rotate-packaging-${randomBytes(3).toString('hex')}:1`;
const fence: Fence = { rotation: 'r', token: 1, assert: () => Promise.resolve() };
const { signal } = new AbortController();

/** LiteLLM's place taken by a program that an engine without a bridge and without its image can run. */
const override = `
services:
  litellm:
    image: ${image}
    command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.1; done']
    network_mode: host
    networks: !reset null
    ports: !reset []
    healthcheck: { test: [CMD, 'true'], interval: 1s, start_period: 1s }
`;

describe.skipIf(why !== undefined)('docker-compose.yml on a real engine', () => {
  let docker: Docker;
  beforeAll(async () => {
    docker = await startDocker();
    await docker.importTinyImage(image);
  }, 600_000);
  afterAll(() => docker.stop(), 60_000);

  async function litellm() {
    const directory = await composeProject();
    await initKeys(directory);
    await writeFile(join(directory, 'lab.yml'), override);
    const path = join(directory, 'packaging/compose/litellm-rotate.yaml');
    const target = parseConfig(await readFile(path, 'utf8'), path).targets['local'];
    if (target?.service.type !== 'docker-compose') throw new Error('not a docker-compose target');
    // In the worker's container, HOME is the project's directory.
    const inWorker = (place: string): string => place.replace(/^~\//, `${directory}/`);
    const [keys] = target.secrets.files.map((file) => inWorker(file.path));
    const projectName = `rotate-${randomBytes(4).toString('hex')}`;
    const service = createDockerComposeService({
      projectDirectory: inWorker(target.service.projectDirectory),
      service: target.service.service,
      files: ['docker-compose.yml', 'lab.yml'],
      projectName,
      envFiles: [keys ?? ''],
      environment: docker.env,
    });
    const settings = { COMPOSE_FILE: 'docker-compose.yml:lab.yml', COMPOSE_PROJECT_NAME: projectName };
    const byHand = (command: string, env = {}) =>
      execa('sh', ['-c', command], { cwd: directory, env: { ...docker.env, ...settings, ...env } });
    // Neither Postgres nor anything else of the file is here, which `start` asks for.
    await writeFile(join(directory, 'alone.yml'), 'services: { litellm: { depends_on: !reset {} } }\n');
    const masterKey = async () => {
      const given = (await service.environment(['LITELLM_MASTER_KEY'])).get('LITELLM_MASTER_KEY');
      return typeof given === 'object' ? given.given.reveal() : given;
    };
    return { service, keys: keys ?? '', byHand, masterKey };
  }

  test("passes the rotation's own look at the service, as the worker's configuration names it", async () => {
    const { service } = await litellm();
    const { findings, state } = await service.inspect();
    expect(findings).toEqual([]);
    expect(state.state).toBe('stopped');
  });

  test('gives LiteLLM the keys of the file that a rotation wrote between stop and start', async () => {
    const { service, keys, masterKey } = await litellm();
    const before = await readFile(keys, 'utf8');
    const first = await service.start(fence, signal);
    try {
      await writeFile(keys, before.replace(/^LITELLM_MASTER_KEY=.*$/m, 'LITELLM_MASTER_KEY=sk-the_next-one'));
      expect((await service.stop(fence, signal)).state).toBe('stopped');
      const second = await service.start(fence, signal);
      expect(second.state).toBe('running');
      expect(second.instance).not.toBe(first.instance);
      expect(await masterKey()).toBe('sk-the_next-one');
    } finally {
      await service.stop(fence, signal);
    }
  });

  test("comes up with the key file's keys by the runbook's command, which `start` and `restart` do not bring", async () => {
    const { service, keys, byHand, masterKey } = await litellm();
    const runbook = await readFile(join(root, 'docs/runbook.md'), 'utf8');
    const [, stop = ''] = /`(docker compose stop) worker litellm`/.exec(runbook) ?? [];
    const [, start = ''] = /`(docker compose up [^`]+ litellm)`/.exec(runbook) ?? [];
    await service.start(fence, signal);
    try {
      const previous = await masterKey();
      const text = await readFile(keys, 'utf8');
      await writeFile(keys, text.replace(/^LITELLM_MASTER_KEY=.*$/m, 'LITELLM_MASTER_KEY=sk-the_next-one'));
      await byHand(`${stop} litellm`);
      for (const kept of ['start', 'restart']) {
        const alone = { COMPOSE_FILE: 'docker-compose.yml:lab.yml:alone.yml' };
        await byHand(`docker compose ${kept} litellm`, alone);
        expect(await masterKey()).toBe(previous);
      }
      await byHand(`${stop} litellm`);
      await byHand(start);
      expect(await masterKey()).toBe('sk-the_next-one');
    } finally {
      await service.stop(fence, signal);
    }
  });
});
