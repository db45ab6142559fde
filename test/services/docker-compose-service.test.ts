import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canRunDocker, startDocker } from '../../lab/docker.ts';
import type { Docker } from '../../lab/docker.ts';
import { createPreflightActivities } from '../../src/activities/preflight.ts';
import type { Ports } from '../../src/activities/ports.ts';
import { compose as composePorts } from '../../src/composition.ts';
import { parseConfig } from '../../src/config/config.ts';
import { decideCase } from '../../src/rotation/case.ts';
import { createEnvFileStore } from '../../src/secret-stores/env-file/store.ts';
import { createDockerComposeService } from '../../src/services/docker-compose-service.ts';
import type { DockerComposeServiceOptions } from '../../src/services/docker-compose-service.ts';
import type { GivenValue } from '../../src/services/port.ts';
import { run } from '../activities/daemon.ts';
import { never, newestFence, staleFence } from './fences.ts';

const why = await canRunDocker();
if (why !== undefined) console.log(`docker compose tests are skipped: ${why}`);

const image = `litellm-rotate-services-${randomBytes(3).toString('hex')}:1`;
const serving = 'trap "exit 0" TERM; echo serving $$KEY_ID; while :; do sleep 0.1; done';
const names = ['LITELLM_MASTER_KEY', 'LITELLM_SALT_KEY'];
let docker: Docker;
const projects: Project[] = [];

interface Project {
  readonly name: string;
  readonly directory: string;
  readonly service: (
    options?: Partial<DockerComposeServiceOptions>,
  ) => ReturnType<typeof createDockerComposeService>;
  /** The key file, which is the service's env_file. */
  readonly writeKey: (key: string) => Promise<void>;
  readonly compose: (...args: string[]) => Promise<string>;
  readonly containers: () => Promise<string[]>;
}

/** A compose project of its own with one service `api`, in whose definition the lines given come on top. */
async function project(lines: readonly string[] = [], command = serving): Promise<Project> {
  const directory = await mkdtemp(join(tmpdir(), 'compose-service-'));
  const name = `rotate-${randomBytes(4).toString('hex')}`;
  const definition = [
    `name: ${name}`,
    'services:',
    '  api:',
    `    image: ${image}`,
    '    network_mode: host',
    '    stop_grace_period: 3s',
    '    env_file: [keys.env]',
    `    command: ${JSON.stringify(['sh', '-c', command])}`,
    ...lines.map((line) => `    ${line}`),
  ];
  await writeFile(join(directory, 'compose.yaml'), `${definition.join('\n')}\n`);
  const writeKey = (key: string) =>
    writeFile(join(directory, 'keys.env'), `LITELLM_MASTER_KEY=${key}\nKEY_ID=${key}\n`, { mode: 0o600 });
  await writeKey('sk-first');
  const compose = async (...args: string[]) =>
    (await execa('docker', ['compose', ...args], { cwd: directory, env: docker.env })).stdout;
  const made: Project = {
    name,
    directory,
    writeKey,
    compose,
    service: (options = {}) =>
      createDockerComposeService({
        projectDirectory: directory,
        service: 'api',
        envFiles: ['keys.env'],
        environment: docker.env,
        ...options,
      }),
    containers: async () =>
      (
        await docker.run(
          'ps',
          '-a',
          '--no-trunc',
          '--filter',
          `label=com.docker.compose.project=${name}`,
          '--format',
          '{{.State}} {{.Names}}',
        )
      )
        .split('\n')
        .filter(Boolean),
  };
  projects.push(made);
  return made;
}

const given = (value: GivenValue | undefined) => (typeof value === 'object' ? value.given.reveal() : value);

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    if (await condition()) return;
    await sleep(50);
  }
  throw new Error('it did not happen within 5 s');
}

describe.skipIf(why !== undefined)('a service under docker compose', () => {
  beforeAll(async () => {
    docker = await startDocker();
    await docker.importTinyImage(image);
  });

  afterAll(async () => {
    for (const { compose, directory } of projects) {
      await compose('down', '--timeout', '0').catch(() => undefined);
      await rm(directory, { recursive: true, force: true });
    }
    await docker?.stop();
  });

  test('comes up as another container, with the key that was written while it was stopped', async () => {
    const { service, writeKey } = await project();
    const api = service();
    const first = await api.start(newestFence(), never);
    expect(first).toMatchObject({ state: 'running', instance: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(given((await api.environment(names)).get('LITELLM_MASTER_KEY'))).toBe('sk-first');

    const stopped = await api.stop(newestFence(), never);
    expect(stopped).toMatchObject({ state: 'stopped', instance: undefined });
    expect(await api.observe()).toEqual(stopped);
    expect((await api.environment(names)).get('LITELLM_MASTER_KEY')).toBe('unknown');

    await writeKey('sk-second');
    const second = await api.start(newestFence(), never);
    expect(second.instance).not.toBe(first.instance);
    const environment = await api.environment(names);
    expect(given(environment.get('LITELLM_MASTER_KEY'))).toBe('sk-second');
    expect(environment.get('LITELLM_SALT_KEY')).toBe('absent');
  });

  test('does nothing when it runs already, or is stopped already', async () => {
    const { service } = await project();
    const api = service();
    const fence = newestFence();
    expect(await api.stop(fence, never)).toMatchObject({ state: 'stopped', detail: 'without a container' });
    expect(fence.asked).toBe(0);
    const { instance } = await api.start(fence, never);
    expect(fence.asked).toBe(1);
    expect(await api.start(fence, never)).toMatchObject({ state: 'running', instance });
    expect(fence.asked).toBe(1);
  });

  test('is neither stopped nor started by an attempt that was overtaken', async () => {
    const { service, containers } = await project();
    await expect(service().start(staleFence, never)).rejects.toMatchObject({ type: 'FencedOut' });
    expect(await containers()).toEqual([]);
    await service().start(newestFence(), never);
    await expect(service().stop(staleFence, never)).rejects.toMatchObject({ type: 'FencedOut' });
    expect(await service().observe()).toMatchObject({ state: 'running' });
  });

  test('repairs what a compose that was killed in the middle of a recreate leaves behind', async () => {
    // It ignores the stop signal, so that the kill comes while the engine waits for its end.
    const { name, directory, service, containers, writeKey } = await project(
      [],
      'trap "" TERM; while :; do sleep 0.1; done',
    );
    const api = service();
    const first = await api.start(newestFence(), never);
    await writeKey('sk-second');
    const recreate = execa('docker', ['compose', 'up', '-d', '--force-recreate', 'api'], {
      cwd: directory,
      env: docker.env,
      reject: false,
      detached: true,
    });
    await until(async () => (await containers()).some((line) => line.startsWith('created')));
    await sleep(300);
    process.kill(-(recreate.pid ?? NaN), 'SIGKILL');
    await recreate;

    await api.stop(newestFence(), never);
    expect((await containers()).toSorted()).toEqual([
      expect.stringMatching(`^created [0-9a-f]{12}_${name}-api-1$`),
      `exited ${name}-api-1`,
    ]);
    const second = await api.start(newestFence(), never);
    expect(second.instance).not.toBe(first.instance);
    expect(await containers()).toHaveLength(1);
    expect(given((await api.environment(names)).get('LITELLM_MASTER_KEY'))).toBe('sk-second');
    expect(await api.observe()).toMatchObject({ state: 'running', instance: second.instance });
  });

  test('removes no container of another project or service', async () => {
    const one = await project(['scale: 1']);
    const other = await project();
    await other.service().start(newestFence(), never);
    await other.service().stop(newestFence(), never);
    await docker.run(
      'create',
      '--label',
      `com.docker.compose.project=${one.name}`,
      '--label',
      'com.docker.compose.service=db',
      image,
    );
    await one.service().start(newestFence(), never);
    expect(await other.containers()).toEqual([`exited ${other.name}-api-1`]);
    expect((await one.containers()).map((line) => line.replace(/ .*/, '')).toSorted()).toEqual([
      'created',
      'running',
    ]);
    await docker.run('container', 'prune', '-f', '--filter', `label=com.docker.compose.project=${one.name}`);
  });

  test('joins a stop that was aborted', async () => {
    const { service } = await project([], 'trap "" TERM; while :; do sleep 0.1; done');
    const api = service();
    await api.start(newestFence(), never);
    const reason = new Error('the activity was cancelled');
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 500);
    await expect(api.stop(newestFence(), controller.signal)).rejects.toBe(reason);
    expect(await api.observe()).toMatchObject({ state: 'running' });
    expect(await api.stop(newestFence(), never)).toMatchObject({ state: 'stopped' });
  });

  test('is not stopped while a container of `docker compose run` is up', async () => {
    const { service, compose } = await project();
    const api = service();
    await api.start(newestFence(), never);
    await compose('run', '--detach', 'api');
    await expect(api.stop(newestFence(), never)).rejects.toThrow(
      /expected no container of it to run; end what `docker compose run` has started/,
    );
    expect(await api.observe()).toMatchObject({ state: 'stopping' });
  });

  test.for(['no', 'on-failure:2'])('fails when its container exits, with restart: %s', async (restart) => {
    const { service } = await project([`restart: "${restart}"`], 'sleep 0.3; exit 3');
    const error = await service()
      .start(newestFence(), never)
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      type: 'ServiceFailed',
      message: expect.stringMatching(
        /after its start, the service is container [0-9a-f]{12} .*expected one container running/,
      ),
      facts: { instance: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    if (restart === 'no')
      expect(String(error)).toContain('exited with 3, which is how LiteLLM refuses to boot');
  });

  test('fails when its container exits and docker restarts it', async () => {
    const { service } = await project(['restart: always'], 'sleep 0.5; exit 3');
    await expect(service().start(newestFence(), never)).rejects.toThrow(
      // Or, on a busy machine, already `after its start`.
      /after its start, the service is container .*restart/,
    );
    expect(await service().stop(newestFence(), never)).toMatchObject({ state: 'stopped' });
    await sleep(700);
    expect(await service().observe()).toMatchObject({ state: 'stopped' });
  });

  test('waits for the healthcheck, and fails when it says unhealthy', async () => {
    const check = (test: string) => [
      'healthcheck:',
      `  test: ${test}`,
      '  interval: 500ms',
      '  timeout: 1s',
      '  retries: 2',
    ];
    const well = await project(check('["CMD", "true"]'));
    expect((await well.service().start(newestFence(), never)).detail).toMatch(/running, healthy, since /);
    const ill = await project(check('["CMD", "test", "-e", "/nowhere"]'));
    await expect(ill.service().start(newestFence(), never)).rejects.toThrow(
      /running, unhealthy, .* expected one container running and healthy/,
    );
    expect(await ill.service().observe()).toMatchObject({ state: 'failed' });
  });

  test('keeps what compose printed, and its own command line, out of an error', async () => {
    const { service, directory } = await project();
    await writeFile(join(directory, 'keys.env'), 'export LITELLM_MASTER_KEY="sk-secret\n');
    const error = await service()
      .start(newestFence(), never)
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      type: 'ServiceFailed',
      message: expect.stringMatching(/up api` exited with \d+ and the service is without a container/),
    });
    expect(error).not.toHaveProperty('cause');
    expect(String(error)).not.toContain('sk-secret');
  });

  test('gives both streams of the log in the order in which they were written', async () => {
    const { service, compose } = await project(
      [],
      "n=0; trap 'exit 0' TERM; trap 'n=$$((n + 1)); echo out $$n' USR1; trap 'echo err $$n >&2' USR2; while :; do sleep 0.1; done",
    );
    const { instance } = await service().start(newestFence(), never);
    const log = async () => (await service().log(instance ?? '', 10)) ?? [];
    for (let written = 1; written <= 6; written += 1) {
      await compose('kill', '--signal', written % 2 === 1 ? 'USR1' : 'USR2', 'api');
      await expect.poll(log, { timeout: 10_000 }).toHaveLength(written);
    }
    expect(await log()).toEqual(['out 1', 'err 1', 'out 2', 'err 2', 'out 3', 'err 3']);
    expect(await service().log(instance ?? '', 2)).toEqual(['out 3', 'err 3']);
    expect(await service().log('0'.repeat(64), 2)).toBeUndefined();
  });

  test("gives no log of another's container, whoever names one", async () => {
    const other = await project();
    const { instance = '' } = await other.service().start(newestFence(), never);
    await expect.poll(() => other.service().log(instance, 2)).toEqual(['serving sk-first']);
    const { service } = await project();
    for (const named of [instance, `${other.name}-api-1`])
      expect(await service().log(named, 2)).toBeUndefined();
  });

  describe('before a rotation', () => {
    const codes = async (made: Project, options: Partial<DockerComposeServiceOptions> = {}) => {
      const { findings } = await made.service(options).inspect();
      return findings.map(({ severity, code }) => `${severity} ${code}`).toSorted();
    };
    const plain = 'note compose-healthcheck-missing';

    test('finds nothing wrong with a good service', async () => {
      const made = await project(['healthcheck:', '  test: ["CMD", "true"]', '  interval: 1s']);
      await made.service().start(newestFence(), never);
      expect(await codes(made)).toEqual([]);
      await symlink('keys.env', join(made.directory, 'link.env'));
      expect(await codes(made, { envFiles: ['link.env'] })).toEqual([]);
    });

    test('finds what would make the new keys not arrive, and keeps the values to itself', async () => {
      const made = await project([
        'environment:',
        '  LITELLM_MASTER_KEY: sk-in-the-compose-file',
        '  LITELLM_SALT_KEY: ${LITELLM_SALT_KEY}',
        '  DATABASE_URL: ${DATABASE_URL:-}${NOWHERE_SET}',
        'restart: always',
        'deploy: { replicas: 2 }',
      ]);
      expect(await codes(made, { envFiles: ['keys.env', 'unread.env'] })).toEqual([
        'blocking compose-replicas',
        'blocking compose-variable-unset',
        'blocking env-file-unread',
        'blocking key-in-compose-file',
        'blocking key-in-compose-file',
        plain,
        'note compose-restart-always',
      ]);
      const { findings } = await made.service().inspect();
      expect(JSON.stringify(findings)).toContain('NOWHERE_SET');
      expect(JSON.stringify(findings)).not.toContain('sk-in-the-compose-file');
    });

    test('finds a key in an environment: that is a list', async () => {
      const made = await project([
        'environment:',
        '  - LITELLM_MASTER_KEY=sk-in-the-compose-file',
        '  - LITELLM_SALT_KEY=${LITELLM_SALT_KEY}',
      ]);
      await writeFile(join(made.directory, '.env'), 'LITELLM_SALT_KEY=sk-salt\n');
      const both = ['blocking key-in-compose-file', 'blocking key-in-compose-file', plain];
      expect(await codes(made)).toEqual(both);
      expect(await codes(made, { envFiles: ['keys.env', '.env'] })).toEqual(both.slice(1));
    });

    test('finds env files that are optional, out of order, or unknown to the rotation', async () => {
      const made = await project();
      for (const name of ['first.env', 'second.env', 'third.env'])
        await writeFile(join(made.directory, name), '');
      const override = join(made.directory, 'override.yaml');
      const lines = [
        'services:',
        '  api:',
        '    env_file:',
        '      - { path: second.env, required: false }',
        '      - first.env',
        '      - third.env',
      ];
      await writeFile(override, `${lines.join('\n')}\n`);
      const options = {
        files: [join(made.directory, 'compose.yaml'), override],
        envFiles: ['first.env', 'second.env'],
      };
      expect(await codes(made, options)).toEqual([
        plain,
        'warning env-file-optional',
        'warning env-file-order',
        'warning env-file-unlisted',
      ]);
    });

    test('accepts a key that compose takes from a .env file which the rotation writes', async () => {
      const made = await project(['environment: { LITELLM_SALT_KEY: "${LITELLM_SALT_KEY}" }']);
      await writeFile(join(made.directory, '.env'), 'LITELLM_SALT_KEY=sk-salt\n');
      const { findings } = await made
        .service({ envFiles: ['.env'], variables: ['LITELLM_SALT_KEY'] })
        .inspect();
      expect(findings.map(({ code }) => code)).toEqual(['compose-healthcheck-missing']);
      expect(await codes(made, { envFiles: ['keys.env'] })).toContain('blocking key-in-compose-file');
      expect(
        await codes(made, { environment: { ...docker.env, LITELLM_SALT_KEY: 'sk-configured' } }),
      ).toContain('blocking key-in-configuration');
      await made.service().start(newestFence(), never);
      expect(given((await made.service().environment(names)).get('LITELLM_SALT_KEY'))).toBe('sk-salt');
    });

    test('does not look for a file that LiteLLM reads by itself', async () => {
      const { directory, service } = await project();
      await service().start(newestFence(), never);
      const codesWith = async (reader: string) => {
        const target = {
          database: { url: { env: 'DATABASE' } },
          secrets: { files: [{ path: join(directory, 'app', '.env'), reader }] },
          service: {
            type: 'docker-compose',
            projectDirectory: directory,
            service: 'api',
            environment: docker.env,
          },
          proxy: { url: 'http://127.0.0.1:1' },
        };
        const config = parseConfig(JSON.stringify({ targets: { prod: target } }), 'config.yaml');
        const env = { DATABASE: 'postgresql://nobody@127.0.0.1:1/none' };
        await using ports = composePorts(config, env, () => Promise.resolve(false));
        const { findings } = await ports.target('prod').service.inspect();
        return findings.map(({ severity, code }) => `${severity} ${code}`);
      };
      expect(await codesWith('dotenv')).toEqual([plain]);
      expect(await codesWith('docker-compose')).toEqual(['blocking env-file-unread', plain]);
    });

    test('finds that a first salt key would not be handed over, where a .env file gives the names of the compose file only', async () => {
      const { directory, compose, service } = await project();
      const [file, dotenv] = ['compose.yaml', '.env'].map((name) => join(directory, name)) as [
        string,
        string,
      ];
      const definition = await readFile(file, 'utf8');
      const handOver = (...lines: string[]) =>
        writeFile(file, definition.replace('    env_file: [keys.env]', lines.join('\n')));
      const only = ['    environment:', '      LITELLM_MASTER_KEY: ${LITELLM_MASTER_KEY}'];
      const inspect = async (hasSalt: boolean, asked: readonly ('master' | 'salt')[]) => {
        const target = {
          service: service({ envFiles: ['.env'] }),
          store: createEnvFileStore({
            files: [{ path: dotenv, role: 'keys', reader: 'docker-compose' }],
            names: { master: ['LITELLM_MASTER_KEY'], salt: ['LITELLM_SALT_KEY'] },
          }),
          variables: { master: 'LITELLM_MASTER_KEY', salt: 'LITELLM_SALT_KEY' },
        };
        const ports = { target: () => target } as unknown as Ports;
        const { findings } = await run(() =>
          createPreflightActivities(ports).inspectService({
            target: 'prod',
            rotation: 'rotation-1',
            rotationCase: decideCase(hasSalt, asked),
          }),
        );
        return findings.filter(({ severity }) => severity === 'blocking').map(({ code }) => code);
      };
      await writeFile(dotenv, 'LITELLM_MASTER_KEY=sk-first\n');
      await handOver(...only);
      await service().start(newestFence(), never);
      expect(await inspect(false, ['master', 'salt'])).toEqual(['key-not-handed-over']);
      expect(await inspect(false, ['master'])).toEqual([]);

      // What the finding says to write instead.
      const byName = '    environment: ["LITELLM_MASTER_KEY=${LITELLM_MASTER_KEY}", LITELLM_SALT_KEY]';
      for (const lines of [[byName], [...only, '    env_file: [.env]']]) {
        await writeFile(dotenv, 'LITELLM_MASTER_KEY=sk-first\n');
        await handOver(...lines);
        await compose('up', '--detach');
        expect(await inspect(false, ['master', 'salt'])).toEqual([]);
        await service().stop(newestFence(), never);
        await writeFile(dotenv, 'LITELLM_MASTER_KEY=sk-second\nLITELLM_SALT_KEY=sk-salt\n');
        await service().start(newestFence(), never);
        expect(given((await service().environment(names)).get('LITELLM_SALT_KEY'))).toBe('sk-salt');
        expect(await inspect(true, ['master', 'salt'])).toEqual([]);
      }
    });

    test('finds that a restart would bring up more than new keys', async () => {
      const made = await project();
      await made.service().start(newestFence(), never);
      expect(await codes(made)).toEqual([plain]);
      await made.writeKey('sk-edited-by-hand');
      expect(await codes(made)).toEqual([plain, 'warning compose-definition-changed']);
      await made.writeKey('sk-first');
      await writeFile(
        join(made.directory, 'override.yaml'),
        'services: { api: { image: "no-such-image:1" } }\n',
      );
      const files = ['compose.yaml', 'override.yaml'].map((name) => join(made.directory, name));
      expect(await codes(made, { files })).toEqual(['blocking compose-image-missing', plain]);
    });

    test('finds that its image now stands for another one than the one that runs', async () => {
      const made = await project();
      const tag = `${made.name}:1`;
      await docker.run('tag', image, tag);
      await writeFile(join(made.directory, 'override.yaml'), `services: { api: { image: "${tag}" } }\n`);
      const files = ['compose.yaml', 'override.yaml'].map((name) => join(made.directory, name));
      await made.service({ files }).start(newestFence(), never);
      expect(await codes(made, { files })).toEqual([plain]);
      const [, container = ''] = (await made.containers())[0]?.split(' ') ?? [];
      await docker.run('commit', container, tag);
      expect(await codes(made, { files })).toEqual([plain, 'warning compose-image-moved']);
    });

    test('finds a definition that cannot be read, a service that is not in it, and an engine that does not answer', async () => {
      const made = await project();
      expect(await codes(made, { service: 'web' })).toEqual(['blocking compose-service-unknown']);
      expect(
        await codes(made, { environment: { ...docker.env, DOCKER_HOST: 'unix:///no/such/socket' } }),
      ).toEqual(['blocking docker-unreachable']);
      await mkdir(join(made.directory, 'empty'));
      expect(
        await codes(made, { projectDirectory: join(made.directory, 'empty'), files: ['none.yaml'] }),
      ).toEqual(['blocking compose-file-invalid']);
      await expect(made.service({ files: ['none.yaml'] }).observe()).rejects.toThrow(
        /docker compose cannot read the definition/,
      );
    });
  });
});
