import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { execa } from 'execa';
import { beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { type Compose, ensureCompose } from '../../lab/compose.ts';
import { composeProject, initKeys, root } from './project.ts';

interface Service {
  readonly image: string;
  readonly environment?: Record<string, string | null>;
  readonly env_file?: { path: string; required?: boolean }[];
  readonly healthcheck?: { readonly test: string[] };
  readonly depends_on?: Record<string, { readonly condition: string }>;
  readonly ports?: { readonly host_ip?: string; readonly target: number }[];
  readonly volumes?: {
    readonly type: string;
    readonly source: string;
    readonly target: string;
    read_only?: boolean;
  }[];
  readonly restart?: string;
  readonly user?: string;
  readonly group_add?: string[];
  readonly networks?: Record<string, unknown>;
}
interface Project {
  readonly name: string;
  readonly services: Record<string, Service>;
}

let compose: Compose;
beforeAll(async () => {
  compose = await ensureCompose();
}, 600_000);

async function config(directory: string, ...flags: string[]) {
  return execa('docker', ['compose', 'config', '--format', 'json', ...flags], {
    cwd: directory,
    env: { HOME: directory, ...compose.env },
    extendEnv: false,
    reject: false,
  });
}

async function resolved(): Promise<{ directory: string; project: Project }> {
  const directory = await composeProject();
  await initKeys(directory);
  const { stdout, exitCode, stderr } = await config(directory);
  expect(stderr).toBe('');
  expect(exitCode).toBe(0);
  return { directory, project: JSON.parse(stdout) as Project };
}

describe('docker-compose.yml', () => {
  test('is accepted by `docker compose config` once init-keys.sh has run, without a warning', async () => {
    const { project } = await resolved();
    expect(Object.keys(project.services).toSorted()).toEqual([
      'litellm',
      'postgres',
      'temporal',
      'temporal-ui',
      'worker',
    ]);
  });

  test('is refused without the secrets, and the variable that is missing is named', async () => {
    const directory = await composeProject();
    const { exitCode, stderr } = await config(directory);
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(/required variable \w+ is missing a value: run packaging\/compose\/init-keys\.sh/);
  });

  test('is refused without any one of the variables of .env, and with an empty one', async () => {
    const directory = await composeProject();
    await initKeys(directory);
    const whole = await readFile(join(directory, '.env'), 'utf8');
    const names = Object.keys(parseEnv(whole));
    expect(names).toHaveLength(8);
    for (const name of names) {
      for (const line of ['', `${name}=\n`]) {
        await writeFile(join(directory, '.env'), whole.replace(new RegExp(`^${name}=.*\n`, 'm'), line));
        const { exitCode, stderr } = await config(directory);
        expect(exitCode, name).not.toBe(0);
        expect(stderr).toContain(name);
      }
    }
  });

  test('is refused without the key file, which is named', async () => {
    const directory = await composeProject();
    await initKeys(directory);
    await rm(join(directory, 'packaging/compose/keys/litellm.env'));
    const { exitCode, stderr } = await config(directory);
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('packaging/compose/keys/litellm.env');
  });

  test('gives every service a health check, an image of an exact version, and a restart policy', async () => {
    const { project } = await resolved();
    for (const [name, { image, healthcheck, restart }] of Object.entries(project.services)) {
      expect(healthcheck?.test, name).toBeDefined();
      expect(image, name).toMatch(/:v?\d+\.\d+\.\d+$|:\d+\.\d+-[a-z]+$/);
      expect(restart, name).toBe('unless-stopped');
    }
  });

  test('waits for the health of what a service depends on, and the worker for everything but litellm', async () => {
    const { project } = await resolved();
    for (const { depends_on = {} } of Object.values(project.services)) {
      for (const { condition } of Object.values(depends_on)) expect(condition).toBe('service_healthy');
    }
    expect(Object.keys(project.services['worker']?.depends_on ?? {}).toSorted()).toEqual([
      'postgres',
      'temporal',
    ]);
  });

  test('publishes ports on 127.0.0.1 alone, and none of the database and the worker', async () => {
    const { project } = await resolved();
    const published = Object.entries(project.services).flatMap(([name, { ports = [] }]) =>
      ports.map((port) => ({ name, ...port })),
    );
    expect(published.map(({ host_ip }) => host_ip)).toEqual(published.map(() => '127.0.0.1'));
    expect(published.map(({ name, target }) => `${name}:${target}`).toSorted()).toEqual([
      'litellm:4000',
      'temporal-ui:8080',
      'temporal:7233',
    ]);
  });

  test('keeps LiteLLM, which calls whatever address its users give it, away from Temporal, which asks for no password', async () => {
    const { project } = await resolved();
    const networks = (name: string) => Object.keys(project.services[name]?.networks ?? {});
    const neighbours = (name: string) =>
      Object.keys(project.services)
        .filter((other) => networks(other).some((network) => networks(name).includes(network)))
        .toSorted();
    expect(neighbours('litellm')).toEqual(['litellm', 'postgres', 'worker']);
    expect(neighbours('temporal')).toEqual(['postgres', 'temporal', 'temporal-ui', 'worker']);
  });

  test('holds no password: each value of a secret variable, and each password of a URL, is a required ${...}', async () => {
    const source = parse(await readFile(join(root, 'docker-compose.yml'), 'utf8')) as Project;
    const values = Object.values(source.services).flatMap(({ environment = {} }) =>
      Object.entries(environment),
    );
    const required = String.raw`\$\{[A-Z_]+:\?[^}]+\}`;
    const secret = values.filter(([name]) => /PASSWORD|PWD|KEY|SECRET|TOKEN/.test(name));
    expect(secret.length).toBeGreaterThan(4);
    for (const [name, value] of secret) expect(value, name).toMatch(new RegExp(`^${required}$`));
    const urls = values.filter(([, value]) => value?.includes('://'));
    expect(urls).toHaveLength(2);
    for (const [name, value] of urls)
      expect(value, name).toMatch(new RegExp(`^postgresql://\\w+:${required}@`));
    // A default, `${NAME:-value}`, would be a password that everybody knows.
    expect(JSON.stringify(source)).not.toMatch(/\$\{\w+:?-/);
  });

  test('gives each service the secrets of its own alone', async () => {
    const { directory, project } = await resolved();
    const passwords = parseEnv(await readFile(join(directory, '.env'), 'utf8'));
    const keys = parseEnv(await readFile(join(directory, 'packaging/compose/keys/litellm.env'), 'utf8'));
    const all = Object.entries({ ...passwords, ...keys }).filter(([name]) => /PASSWORD|KEY/.test(name));
    const holders = Object.fromEntries(
      all.map(([name, value]) => [
        name,
        Object.entries(project.services)
          .filter(([, service]) => JSON.stringify(service).includes(value ?? 'missing'))
          .map(([service]) => service)
          .toSorted(),
      ]),
    );
    expect(holders).toEqual({
      POSTGRES_PASSWORD: ['postgres'],
      LITELLM_DATABASE_PASSWORD: ['litellm', 'postgres'],
      TEMPORAL_DATABASE_PASSWORD: ['postgres', 'temporal'],
      ROTATE_DATABASE_PASSWORD: ['postgres', 'worker'],
      LITELLM_MASTER_KEY: ['litellm'],
      LITELLM_SALT_KEY: ['litellm'],
    });
  });

  test('runs the worker as the owner of the key file, in the group of the socket', async () => {
    const { project } = await resolved();
    expect(project.services['worker']?.user).toBe(`${process.getuid?.()}:${process.getgid?.()}`);
    expect(project.services['worker']?.group_add).toEqual(['998']);
  });

  test('shows the worker the project at the path that it has outside, and only the keys writable', async () => {
    const { directory, project } = await resolved();
    const binds = project.services['worker']?.volumes?.filter(({ source }) => source.startsWith(directory));
    expect(binds?.map(({ source, target, read_only = false }) => ({ source, target, read_only }))).toEqual([
      { source: directory, target: directory, read_only: true },
      {
        source: `${directory}/packaging/compose/keys`,
        target: `${directory}/packaging/compose/keys`,
        read_only: false,
      },
      {
        source: `${directory}/packaging/compose/litellm-rotate.yaml`,
        target: '/etc/litellm-rotate/config.yaml',
        read_only: true,
      },
    ]);
  });

  test('is found by compose from a directory that a link leads to, with the keys where they really are', async () => {
    const directory = await composeProject();
    const elsewhere = join(directory, 'elsewhere');
    await mkdir(elsewhere);
    await symlink(directory, join(elsewhere, 'project'));
    await initKeys(join(elsewhere, 'project'));
    const { LITELLM_ROTATE_DIRECTORY } = parseEnv(await readFile(join(directory, '.env'), 'utf8'));
    expect(LITELLM_ROTATE_DIRECTORY).toBe(directory);
  });
});
