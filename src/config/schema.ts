import { isAbsolute, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import * as z from 'zod';
import { duration } from './duration.ts';

const text = z.string().min(1, { error: 'expected a text that is not empty', abort: true });
const path = text.refine(
  (value) => isAbsolute(value) || value.startsWith('~/'),
  'expected an absolute path, or one that starts with ~/',
);
const variable = z
  .string()
  .regex(/^[A-Z_][A-Z0-9_]*$/, 'expected the name of a variable, such as LITELLM_MASTER_KEY');
const command = z
  .array(text)
  .min(1, 'expected a command as a list, such as [/usr/local/bin/litellm-service, start]');
const address = z
  .string()
  .regex(/^[^:\s]+:\d{1,5}$/, { error: 'expected an address such as 127.0.0.1:0', abort: true })
  .refine((value) => Number(value.split(':')[1]) <= 65_535, 'expected a port of at most 65535')
  .transform((value) => {
    const at = value.lastIndexOf(':');
    return { host: value.slice(0, at), port: Number(value.slice(at + 1)) };
  });
const httpUrl = z
  .url({ protocol: /^https?$/, error: 'expected an address such as http://127.0.0.1:4000', abort: true })
  .refine((value) => {
    const { username, password, search, hash } = new URL(value);
    return username + password + search + hash === '';
  }, 'expected an address without user, password or query');

/** Secrets stand outside the configuration: in an environment variable, in a file, or in a variable of an env file. */
const secretReference = z.union(
  [z.strictObject({ env: variable }), z.strictObject({ file: path, name: variable.optional() })],
  {
    error:
      'expected a reference, { env: NAME } or { file: PATH } or { file: PATH, name: NAME }, as secrets never stand in this file',
  },
);
export type SecretReference = z.infer<typeof secretReference>;

const reader = z.enum(['systemd', 'shell', 'dotenv', 'docker-compose', 'docker'], {
  error: 'expected who reads the file: systemd, shell, dotenv, docker-compose or docker',
});

/** Postgres takes 0 for "without end", with LiteLLM stopped meanwhile; a wait of 0 would end in an outage for nothing. */
const notZero = 'expected a length of time that is not 0';
const limit = duration.refine((ms) => ms > 0, notZero);

/**
 * How long a step may wait: with all that it waits for, less than its `startToCloseTimeout` in src/workflows/policies.ts.
 * Cut off by that, it would begin anew each time, with LiteLLM stopped, or a rotation in which all is well would go back.
 */
const bounded = duration.refine(
  (ms) => ms <= 45 * 60_000,
  'expected at most 45m, as the step that waits is cut off later on, and would begin to wait anew',
);
const wait = bounded.refine((ms) => ms > 0, notZero);

const secrets = z
  .strictObject({
    files: z
      .array(z.strictObject({ path, role: z.enum(['keys', 'copies']).default('keys'), reader }))
      .min(1, 'expected at least one file')
      .refine((files) => files.some(({ role }) => role === 'keys'), 'expected a file with role: keys'),
    masterKey: z.array(variable).min(1).default(['LITELLM_MASTER_KEY']),
    saltKey: z.array(variable).min(1).default(['LITELLM_SALT_KEY']),
    slotDirectory: path.optional(),
  })
  .refine(
    ({ masterKey, saltKey }) =>
      new Set([...masterKey, ...saltKey]).size === masterKey.length + saltKey.length,
    'expected each variable once, for one of the keys',
  );

const timeouts = { stopTimeout: wait.optional(), startTimeout: wait.optional() };
const service = z.discriminatedUnion(
  'type',
  [
    z.strictObject({
      type: z.literal('systemd'),
      unit: text,
      scope: z.enum(['system', 'user']).default('system'),
      ...timeouts,
    }),
    z.strictObject({
      type: z.literal('command'),
      name: text.optional(),
      start: command,
      stop: command,
      status: command,
      environment: z.record(z.string(), z.string()).optional(),
      workingDirectory: path.optional(),
      log: path.optional(),
      ...timeouts,
    }),
    z.strictObject({
      type: z.literal('docker-compose'),
      projectDirectory: path,
      files: z.array(text).optional(),
      projectName: text.optional(),
      service: text,
      docker: text.default('docker'),
      environment: z.record(z.string(), z.string()).optional(),
      ...timeouts,
    }),
  ],
  { error: 'expected type: systemd, command or docker-compose' },
);

const rehearsal = z.strictObject({
  server: secretReference.optional(),
  start: command,
  port: z.number().int().min(1).max(65_535),
  workingDirectory: path.optional(),
  readyTimeout: wait.optional(),
  environment: z.record(z.string(), z.string()).default({}),
  clone: z.enum(['auto', 'dump', 'template'], { error: 'expected auto, dump or template' }).default('auto'),
  always: z.boolean().default(false),
});

const target = z.strictObject({
  database: z.strictObject({
    url: secretReference,
    schema: text.optional(),
    proxyRole: text.optional(),
    lockTimeout: wait.default(10_000),
    statementTimeout: limit.optional(),
    throttle: z.number().int().positive().optional(),
    backOff: z.boolean().default(true),
    skipTables: z.array(text).optional(),
  }),
  secrets,
  service,
  proxy: z.strictObject({
    url: httpUrl,
    readinessPath: text.startsWith('/').optional(),
    modelsPath: text.startsWith('/').optional(),
    readyTimeout: wait.default(180_000),
    /** v3 is in no release of LiteLLM up to 1.110.2. */
    readsFormats: z
      .array(
        z.enum(['legacy', 'v2', 'v3'], { error: 'expected formats that LiteLLM reads: legacy, v2 or v3' }),
      )
      .default(['legacy', 'v2']),
  }),
  canary: z.strictObject({ listen: address.optional(), url: httpUrl.optional() }).default({}),
  knownKeys: z.array(z.strictObject({ label: text, key: secretReference })).default([]),
  /** How long the log is watched after a cutover: LiteLLM reads its database anew about every 30 s. */
  observe: bounded.default(65_000),
  fenceTimeout: wait.default(30_000),
  maxOutage: limit.optional(),
  rehearsal: rehearsal.optional(),
});
export type TargetConfig = z.infer<typeof target>;

/** A rotation of one would leave the other with a key that does not open its database. */
function sharesKeys(one: TargetConfig, other: TargetConfig): boolean {
  const keysOf = ({ secrets: { files } }: TargetConfig) =>
    files.filter(({ role }) => role === 'keys').map((file) => resolve('/', file.path));
  const shared = new Set(keysOf(other));
  return (
    keysOf(one).some((file) => shared.has(file)) && !isDeepStrictEqual(one.database.url, other.database.url)
  );
}

/** The worker's whole configuration file. */
export const configSchema = z.strictObject({
  taskQueue: text.default('litellm-rotate'),
  metrics: address.optional(),
  targets: z
    .record(z.string().regex(/^[a-z0-9][a-z0-9-]*$/, 'expected a name of a-z, 0-9 and -'), target)
    .refine((targets) => Object.keys(targets).length > 0, 'expected at least one target')
    .superRefine((targets, context) => {
      const all = Object.entries(targets);
      for (const [index, [name, one]] of all.entries()) {
        const other = all.slice(0, index).find(([, earlier]) => sharesKeys(one, earlier));
        if (other !== undefined)
          context.addIssue({
            code: 'custom',
            path: [name, 'secrets', 'files'],
            message: `expected key files of its own, as target ${other[0]} has another database and one of these`,
          });
      }
    }),
});
export type Config = z.infer<typeof configSchema>;
