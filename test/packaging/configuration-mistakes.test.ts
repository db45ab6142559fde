import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseConfig, readConfig } from '../../src/config/config.ts';
import { findConfig } from '../../src/config/location.ts';
import { resolveSecret } from '../../src/config/secret-reference.ts';
import { RotationError } from '../../src/rotation/failure.ts';
import { scratchDirectory } from './project.ts';

const sound = `targets:
  prod:
    database:
      url: { env: DATABASE_URL }
    secrets:
      files:
        - { path: /etc/litellm/keys.env, reader: systemd }
    service:
      type: systemd
      unit: litellm.service
    proxy:
      url: http://127.0.0.1:4000
`;

/** The message for the sound configuration with one text in place of another. */
function mistake(from: string, to: string): string {
  expect(sound).toContain(from);
  return messageOf(() => parseConfig(sound.replace(from, to), 'c.yaml'));
}

function messageOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(RotationError);
    expect((error as RotationError).type).toBe('BadRequest');
    return (error as RotationError).message;
  }
  throw new Error('expected a refusal');
}

describe('a configuration', () => {
  test('is accepted in its shortest form, with the defaults filled in', () => {
    const { taskQueue, targets } = parseConfig(sound, 'c.yaml');
    expect(taskQueue).toBe('litellm-rotate');
    expect(targets['prod']).toMatchObject({
      database: { lockTimeout: 10_000 },
      secrets: {
        files: [{ path: '/etc/litellm/keys.env', role: 'keys', reader: 'systemd' }],
        masterKey: ['LITELLM_MASTER_KEY'],
        saltKey: ['LITELLM_SALT_KEY'],
      },
      service: { scope: 'system' },
      proxy: { readyTimeout: 180_000, readsFormats: ['legacy', 'v2'] },
      canary: {},
      knownKeys: [],
      observe: 65_000,
      fenceTimeout: 30_000,
    });
  });

  test('with an unknown key is refused by line and path', () => {
    expect(mistake('unit: litellm.service', 'unit: litellm.service\n      user: root')).toBe(
      'c.yaml:9: targets.prod.service: unknown "user"',
    );
  });

  test('with a connection string in place of a reference is refused, and the string is not repeated', () => {
    const message = mistake('{ env: DATABASE_URL }', 'postgresql://litellm:hunter2@db/litellm');
    expect(message).toBe(
      'c.yaml:4: targets.prod.database.url: expected a reference, { env: NAME } or { file: PATH } or { file: PATH, name: NAME }, as secrets never stand in this file',
    );
  });

  test('with a key in place of a reference is refused, and the key is not repeated', () => {
    const known =
      'proxy:\n      url: http://127.0.0.1:4000\n    knownKeys:\n      - { label: old, key: sk-secret }';
    const message = mistake('proxy:\n      url: http://127.0.0.1:4000', known);
    expect(message).toMatch(/^c\.yaml:14: targets\.prod\.knownKeys\.0\.key: expected a reference/);
    expect(message).not.toContain('sk-secret');
  });

  test('with a reader that there is not is refused with those that there are', () => {
    expect(mistake('reader: systemd', 'reader: bash')).toBe(
      'c.yaml:7: targets.prod.secrets.files.0.reader: expected who reads the file: systemd, shell, dotenv, docker-compose or docker',
    );
  });

  test('that is not YAML is refused with line and column, and without the line itself', () => {
    expect(mistake('{ env: DATABASE_URL }', '{ env: "sk-secret')).toMatch(
      /^c\.yaml:\d+:\d+: found YAML that does not parse \([a-z -]+\); mend the line$/,
    );
    expect(mistake('    secrets:', '   secrets:')).toMatch(/^c\.yaml:5:\d+: found YAML that does not parse/);
  });

  test('with the same key twice is refused', () => {
    expect(mistake('unit: litellm.service', 'unit: litellm.service\n      unit: other.service')).toMatch(
      /^c\.yaml:11:\d+: found YAML that does not parse \(duplicate key\)/,
    );
  });

  test('with a relative path is refused', () => {
    expect(mistake('/etc/litellm/keys.env', 'keys.env')).toBe(
      'c.yaml:7: targets.prod.secrets.files.0.path: expected an absolute path, or one that starts with ~/',
    );
  });

  test('with something missing is refused by the line of what it is missing from', () => {
    expect(mistake('\n      unit: litellm.service', '')).toBe(
      'c.yaml:9: targets.prod.service.unit: missing; expected string',
    );
  });

  test('with a kind of service that there is not is refused with those that there are', () => {
    expect(mistake('type: systemd', 'type: kubernetes')).toBe(
      'c.yaml:9: targets.prod.service.type: expected type: systemd, command or docker-compose',
    );
  });

  test('with a length of time without a unit is refused', () => {
    for (const observe of ['90', '90 s'])
      expect(mistake('proxy:', `observe: ${observe}\n    proxy:`)).toBe(
        'c.yaml:11: targets.prod.observe: expected a length of time such as 90s, 3m or 2h',
      );
  });

  test('with a length of time that no timer can take is refused', () => {
    expect(mistake('proxy:', 'fenceTimeout: 25d\n    proxy:')).toBe(
      'c.yaml:11: targets.prod.fenceTimeout: expected at most 24d',
    );
  });

  test('with a value of the wrong type is refused by both types, and not as missing', () => {
    expect(mistake('{ env: DATABASE_URL }', '{ env: DATABASE_URL }\n      throttle: "2000"')).toBe(
      'c.yaml:5: targets.prod.database.throttle: expected number, received string',
    );
  });

  test('with no file that holds the keys is refused', () => {
    expect(mistake('reader: systemd', 'reader: systemd, role: copies')).toBe(
      'c.yaml:7: targets.prod.secrets.files: expected a file with role: keys',
    );
  });

  test('with an alias of nothing, or one of itself, is refused', () => {
    expect(mistake('unit: litellm.service', 'unit: *unit')).toMatch(/^c\.yaml: found an alias .*expected/);
    expect(mistake('database:', 'database: &it\n      of: *it')).toMatch(/^c\.yaml/);
  });

  test('with a port that there is not is refused', () => {
    for (const port of ['65536', '99999']) {
      expect(mistake('proxy:', `canary: { listen: 127.0.0.1:${port} }\n    proxy:`)).toBe(
        'c.yaml:11: targets.prod.canary.listen: expected a port of at most 65535',
      );
    }
  });

  test('with no time for a lock or a statement is refused: Postgres takes that for time without end', () => {
    for (const name of ['lockTimeout', 'statementTimeout']) {
      expect(mistake('secrets:', `  ${name}: 0s\n    secrets:`)).toBe(
        `c.yaml:5: targets.prod.database.${name}: expected a length of time that is not 0`,
      );
    }
  });

  test('with no time for the service, the proxy or the fence is refused: LiteLLM would be stopped for nothing', () => {
    for (const [from, to, path] of [
      ['    proxy:', '      stopTimeout: 0s\n    proxy:', 'service.stopTimeout'],
      ['    proxy:', '      startTimeout: 0s\n    proxy:', 'service.startTimeout'],
      ['    proxy:', '    fenceTimeout: 0s\n    proxy:', 'fenceTimeout'],
      ['    proxy:', '    maxOutage: 0s\n    proxy:', 'maxOutage'],
      ['proxy:\n', 'proxy:\n      readyTimeout: 0s\n', 'proxy.readyTimeout'],
    ] as const)
      expect(mistake(from, to)).toMatch(
        new RegExp(`^c\\.yaml:\\d+: targets\\.prod\\.${path}: expected a length of time that is not 0$`),
      );
  });

  test('with a password or a query in the address of the proxy is refused, and it is not repeated', () => {
    for (const url of ['http://user:hunter2@127.0.0.1:4000', 'http://127.0.0.1:4000/?key=hunter2'])
      expect(mistake('http://127.0.0.1:4000', url)).toBe(
        'c.yaml:12: targets.prod.proxy.url: expected an address without user, password or query',
      );
  });

  test('with one mistake in a text is refused once', () => {
    expect(mistake('proxy:', 'canary: { listen: 127.0.0.1 }\n    proxy:')).toBe(
      'c.yaml:11: targets.prod.canary.listen: expected an address such as 127.0.0.1:0',
    );
    expect(mistake('proxy:\n', 'proxy:\n      modelsPath: ""\n')).toBe(
      'c.yaml:12: targets.prod.proxy.modelsPath: expected a text that is not empty',
    );
  });

  test('with two targets that have a key file in common, and not the database, is refused', () => {
    const [, target = ''] = sound.split('targets:\n');
    const other = target.replace('prod:', 'other:').replace('/etc/litellm/keys', '/etc/litellm/./keys');
    const parse = (text: string) => parseConfig(sound + text, 'c.yaml');
    expect(messageOf(() => parse(other.replace('DATABASE_URL', 'OTHER_URL')))).toBe(
      'c.yaml:18: targets.other.secrets.files: expected key files of its own, as target prod has another database and one of these',
    );
    expect(Object.keys(parse(other).targets)).toEqual(['prod', 'other']);
  });

  test('with a variable that holds two keys, or is named twice, is refused', () => {
    for (const names of ['saltKey: [LITELLM_MASTER_KEY]', 'masterKey: [LITELLM_KEY, LITELLM_KEY]']) {
      expect(mistake('    service:', `      ${names}\n    service:`)).toMatch(
        /^c\.yaml:6: targets\.prod\.secrets: expected each variable once/,
      );
    }
  });

  test.for([
    ['observe', '    proxy:', '    observe: 46m\n    proxy:'],
    ['fenceTimeout', '    proxy:', '    fenceTimeout: 2700001ms\n    proxy:'],
    ['service.stopTimeout', '    proxy:', '      stopTimeout: 46m\n    proxy:'],
    ['service.startTimeout', '    proxy:', '      startTimeout: 1h\n    proxy:'],
    ['proxy.readyTimeout', 'proxy:\n', 'proxy:\n      readyTimeout: 1d\n'],
    ['database.lockTimeout', '    secrets:', '      lockTimeout: 1h\n    secrets:'],
    [
      'rehearsal.readyTimeout',
      '    proxy:',
      '    rehearsal: { start: [x], port: 4001, readyTimeout: 46m }\n    proxy:',
    ],
  ] as const)('with a wait that is longer than its step may take is refused: %s', ([path, from, to]) => {
    const refused = mistake(from, to);
    expect(refused).toMatch(/^c\.yaml:\d+: /);
    expect(refused.replace(/^c\.yaml:\d+: /, '')).toBe(
      `targets.prod.${path}: expected at most 45m, as the step that waits is cut off later on, and would begin to wait anew`,
    );
    expect(() =>
      parseConfig(sound.replace(from, to.replace(/\d+(ms|m|h|d)/, '45m')), 'c.yaml'),
    ).not.toThrow();
  });

  test('with a name of a target that a command line would mangle is refused', () => {
    expect(mistake('  prod:', '  Prod US:')).toMatch(
      /^c\.yaml:3: targets\.Prod US: expected a name of a-z, 0-9 and -$/,
    );
  });

  test('without a target is refused', () => {
    expect(messageOf(() => parseConfig('targets: {}\n', 'c.yaml'))).toBe(
      'c.yaml:1: targets: expected at least one target',
    );
    expect(messageOf(() => parseConfig('', 'c.yaml'))).toMatch(/^c\.yaml: the file: /);
  });

  test('with two mistakes is refused for both at once', () => {
    const wrong = sound
      .replace('reader: systemd', 'reader: bash')
      .replace('unit: litellm.service', 'unit: ""');
    expect(messageOf(() => parseConfig(wrong, 'c.yaml')).split('\n')).toEqual([
      'c.yaml:7: targets.prod.secrets.files.0.reader: expected who reads the file: systemd, shell, dotenv, docker-compose or docker',
      'c.yaml:10: targets.prod.service.unit: expected a text that is not empty',
    ]);
  });
});

describe('a configuration file', () => {
  test('that is not there is refused by name, with how to name another', () => {
    expect(messageOf(() => readConfig('/no/such/config.yaml'))).toBe(
      '/no/such/config.yaml: found ENOENT when reading it; expected a configuration file; name one with --config or LITELLM_ROTATE_CONFIG',
    );
  });

  test('is the one of --config before that of LITELLM_ROTATE_CONFIG', () => {
    expect(findConfig('a.yaml', { LITELLM_ROTATE_CONFIG: 'b.yaml' })).toBe('a.yaml');
    expect(findConfig(undefined, { LITELLM_ROTATE_CONFIG: 'b.yaml' })).toBe('b.yaml');
  });
});

describe('a reference to a secret', () => {
  test('is taken from a variable, from a file of its own, and from a variable in an env file', async () => {
    const directory = await scratchDirectory();
    const own = join(directory, 'own');
    const several = join(directory, 'several');
    await writeFile(own, 'sk-own\n', { mode: 0o600 });
    await writeFile(several, 'OTHER=no\nexport OLD_KEY="sk-several"\n', { mode: 0o600 });
    expect(resolveSecret({ env: 'A' }, 'x', { A: 'sk-env' }).reveal()).toBe('sk-env');
    expect(resolveSecret({ file: own }, 'x', {}).reveal()).toBe('sk-own');
    expect(resolveSecret({ file: several, name: 'OLD_KEY' }, 'x', {}).reveal()).toBe('sk-several');
  });

  test('to a file that others may read is refused with the command that mends it', async () => {
    const file = join(await scratchDirectory(), 'key');
    await writeFile(file, 'sk-open\n', { mode: 0o600 });
    await chmod(file, 0o640);
    expect(messageOf(() => resolveSecret({ file }, 'targets.prod.knownKeys.0.key', {}))).toBe(
      `targets.prod.knownKeys.0.key: found mode 0640 on ${file}; expected 0600 for a file with a secret; run: chmod 600 ${file}`,
    );
  });

  test('to what is not there or empty is refused by its place in the configuration', async () => {
    const directory = await scratchDirectory();
    const empty = join(directory, 'empty');
    await writeFile(empty, '\n', { mode: 0o600 });
    const where = 'targets.prod.database.url';
    expect(messageOf(() => resolveSecret({ env: 'NONE' }, where, {}))).toMatch(
      /^targets\.prod\.database\.url: found no value in the variable NONE/,
    );
    expect(messageOf(() => resolveSecret({ env: 'NONE' }, where, { NONE: '' }))).toMatch(/found no value/);
    expect(messageOf(() => resolveSecret({ file: empty }, where, {}))).toContain(`found an empty ${empty}`);
    expect(messageOf(() => resolveSecret({ file: join(directory, 'no') }, where, {}))).toContain(
      'found ENOENT',
    );
    expect(messageOf(() => resolveSecret({ file: empty, name: 'KEY' }, where, {}))).toContain(
      'found no value for KEY',
    );
  });
});
