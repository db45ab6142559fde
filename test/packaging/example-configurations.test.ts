import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import * as z from 'zod';
import { parseConfig } from '../../src/config/config.ts';
import { parseDuration } from '../../src/config/duration.ts';
import { configSchema } from '../../src/config/schema.ts';
import { readSystemd } from '../../src/secret-stores/env-file/systemd-reader.ts';
import { root, scratchDirectory } from './project.ts';

const examples = ['packaging/litellm-rotate.yaml.example', 'packaging/compose/litellm-rotate.yaml'];
const read = (path: string): Promise<string> => readFile(join(root, path), 'utf8');

/** A JSON schema, as far as names are concerned. */
interface Schema {
  readonly properties?: Record<string, Schema>;
  readonly items?: Schema;
  readonly anyOf?: Schema[];
  readonly oneOf?: Schema[];
  readonly additionalProperties?: Schema | boolean;
  readonly default?: unknown;
}

/** Every key of the configuration, whatever it stands under. */
function keysOf(schema: Schema): string[] {
  const { properties = {}, items, anyOf = [], oneOf = [], additionalProperties } = schema;
  const inner = [...Object.values(properties), ...anyOf, ...oneOf];
  if (items !== undefined) inner.push(items);
  if (typeof additionalProperties === 'object') inner.push(additionalProperties);
  return [...new Set([...Object.keys(properties), ...inner.flatMap(keysOf)])];
}

/** Every key that has a default, but for those that are a part of the configuration with keys of its own. */
function defaultsOf({ properties = {}, items, anyOf = [], oneOf = [], additionalProperties }: Schema): {
  key: string;
  value: unknown;
}[] {
  const inner = [...Object.values(properties), ...anyOf, ...oneOf];
  if (items !== undefined) inner.push(items);
  if (typeof additionalProperties === 'object') inner.push(additionalProperties);
  const own = Object.entries(properties).flatMap(([key, { default: value }]) =>
    value === undefined || JSON.stringify(value) === '{}' || JSON.stringify(value) === '[]'
      ? []
      : [{ key, value }],
  );
  return [...own, ...inner.flatMap(defaultsOf)];
}

/** Whether a cell of a table says a default: lengths of time stand there with their unit, lists as YAML. */
function means(cell: string, value: unknown): boolean {
  if (typeof value === 'number') return parseDuration(cell) === value;
  return JSON.stringify(parse(cell)) === JSON.stringify(value);
}

const keys = keysOf(z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }) as Schema);

/** Every `url` of a database and every `key` of a known key, wherever it stands. */
function secretsOf(node: unknown, path: string[] = []): unknown[] {
  if (typeof node !== 'object' || node === null) return [];
  return Object.entries(node).flatMap(([key, value]) =>
    key === 'key' || (key === 'url' && path.at(-1) === 'database')
      ? [value as unknown]
      : secretsOf(value, [...path, key]),
  );
}

/** The lines that are commented out, as they are when somebody needs them. */
const uncommented = (text: string): string => text.replaceAll(/^( *)# ?(\s*(?:- \{|\w+:( |$)).*)$/gm, '$1$2');

describe.for(examples)('%s', (path) => {
  test('validates', async () => {
    expect(Object.keys(parseConfig(await read(path), path).targets)).toHaveLength(1);
  });

  test('refers to secrets and holds none', async () => {
    const text = uncommented(await read(path));
    const secrets = secretsOf(parse(text));
    expect(secrets.length).toBeGreaterThan(0);
    for (const secret of secrets)
      expect(secret).toSatisfy((value) => typeof value === 'object' && value !== null);
    expect(text).not.toMatch(/sk-|postgres(ql)?:\/\/|password:/i);
  });
});

describe('packaging/litellm-rotate.yaml.example', () => {
  const path = 'packaging/litellm-rotate.yaml.example';

  test('still validates with everything that is commented out put in', async () => {
    const text = uncommented(await read(path));
    const [target] = Object.values(parseConfig(text, path).targets);
    expect(target?.knownKeys).toHaveLength(1);
    expect(target?.database.throttle).toBe(2000);
    expect(target?.maxOutage).toBe(120_000);
    expect(target?.canary).toEqual({ listen: { host: '127.0.0.1', port: 0 }, url: 'http://127.0.0.1:8089' });
  });

  test('shows the defaults where it says so', async () => {
    const whole = await read(path);
    const shown = (text: string) => {
      const { taskQueue, targets } = parseConfig(text, path);
      const { database, secrets, service, proxy, observe, fenceTimeout } = targets['prod'] ?? {};
      return {
        taskQueue,
        observe,
        fenceTimeout,
        saltKey: secrets?.saltKey,
        readyTimeout: proxy?.readyTimeout,
        lockTimeout: database?.lockTimeout,
        backOff: database?.backOff,
        scope: service?.type === 'systemd' && service.scope,
      };
    };
    expect(shown(uncommented(whole))).toEqual(shown(whole));
  });

  test('mentions every key but those of the other kinds of service', async () => {
    const others = new Set([
      'start',
      'stop',
      'status',
      'environment',
      'workingDirectory',
      'log',
      'projectDirectory',
      'projectName',
      'docker',
    ]);
    const text = await read(path);
    const missing = keys.filter((key) => !others.has(key) && !new RegExp(`\\b${key}:`).test(text));
    expect(missing).toEqual([]);
  });

  test('refers to variables that the example of the env file sets', async () => {
    const variables = Object.keys(parseEnv(await read('packaging/litellm-rotate.env.example')));
    const referred = secretsOf(parse(await read(path))).map((secret) => (secret as { env: string }).env);
    expect(variables).toEqual(expect.arrayContaining(referred));
  });
});

describe('packaging/litellm-rotate.env.example', () => {
  const path = 'packaging/litellm-rotate.env.example';

  test('means to the shell that the README runs doctor by what it means to systemd, whatever a connection string holds', async () => {
    const parameters = '?uselibpqcompat=true&sslmode=require';
    const text = (await read(path)).replace('5432/litellm', `$&${parameters}`);
    const file = join(await scratchDirectory(), 'worker.env');
    await writeFile(file, text, { mode: 0o600 });
    const [, load] = /`(set -a; \. \/etc\/\S+; set \+a)`/.exec(await read('README.md')) ?? [];
    const { stdout } = await execa(
      'sh',
      ['-euc', `${load?.replace('/etc/litellm-rotate/worker.env', file)}; env`],
      {
        env: {},
        extendEnv: false,
      },
    );
    const url = `postgresql://litellm_rotate:PASSWORD@127.0.0.1:5432/litellm${parameters}`;
    expect(
      readSystemd(text).assignments.find(({ name }) => name === 'LITELLM_ROTATE_DATABASE_URL')?.value,
    ).toBe(url);
    expect(stdout.split('\n')).toContain(`LITELLM_ROTATE_DATABASE_URL=${url}`);
  });
});

describe('docs/configuration.md', () => {
  test('gives every default that a key of its own name has in the code', async () => {
    const text = await read('docs/configuration.md');
    const defaults = defaultsOf(
      z.toJSONSchema(configSchema, { io: 'output', unrepresentable: 'any' }) as Schema,
    );
    expect(defaults.length).toBeGreaterThan(10);
    const cells = (key: string) =>
      text
        .split('\n')
        .filter((line) => line.startsWith(`| \`${key}\` `))
        .map((line) => (line.split('|').at(-2) ?? '').trim().replaceAll('`', ''));
    const wrong = defaults.filter(({ key, value }) => !cells(key).some((cell) => means(cell, value)));
    expect(wrong).toEqual([]);
  });

  test('explains every key of the configuration', async () => {
    const text = await read('docs/configuration.md');
    expect(keys.length).toBeGreaterThan(35);
    expect(keys.filter((key) => !text.includes(`\`${key}\``) && !text.includes(`.${key}\``))).toEqual([]);
  });

  test('has examples that validate', async () => {
    const text = await read('docs/configuration.md');
    const blocks = Array.from(text.matchAll(/^```yaml\n(.*?)^```/gms), ([, block]) => block ?? '');
    expect(blocks.length).toBeGreaterThan(3);
    const base = await read('packaging/compose/litellm-rotate.yaml');
    for (const block of blocks) {
      const example = parse(block) as Record<string, unknown>;
      if ('targets' in example) {
        parseConfig(block, 'docs/configuration.md');
        continue;
      }
      // A part of a target takes the place of the same part of a whole one.
      const { targets } = parse(base) as { targets: { local: object } };
      const whole = { targets: { local: { ...targets.local, ...example } } };
      expect(() => parseConfig(JSON.stringify(whole), 'docs/configuration.md'), block).not.toThrow();
    }
  });
});
