import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startBusyWriter } from './busy-writer.ts';
import { open, seal } from './sealing.ts';

/*
 * What a rotation can see of a LiteLLM, in one file that is up in 0.2 s: it reads its keys from the environment and its
 * values from LiteLLM's own tables, and it refuses to start with a key that does not open what is stored. The real
 * LiteLLM starts with any key, and loses its models without a word; the drill wants to hear of it.
 *
 * Every start leaves a line in BOOT_LOG: `served` or `refused`.
 */

const { env } = process;
const masterKey = env['LITELLM_MASTER_KEY'] ?? '';
const signingKey = env['LITELLM_SALT_KEY'] ?? masterKey;
const port = Number(process.argv[process.argv.indexOf('--port') + 1]);
const pool = new pg.Pool({ connectionString: env['DATABASE_URL'], max: 3, idleTimeoutMillis: 2_000 });
pool.on('error', () => undefined);

interface Model {
  readonly model_id: string;
  readonly model_name: string;
  readonly litellm_params: Readonly<Record<string, unknown>>;
}

const models = async (): Promise<Model[]> =>
  (
    await pool.query<Model>(
      'select model_id, model_name, litellm_params from "LiteLLM_ProxyModelTable" order by model_id',
    )
  ).rows;
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const opened = (value: unknown): string =>
  typeof value === 'string' ? (open(value, signingKey) ?? value) : '';

/** Opens every model's key, as LiteLLM does when it loads its models. Waits for a Postgres that is coming up. */
async function opensItsValues(): Promise<boolean> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const values = (await models()).map(({ litellm_params }) => litellm_params['api_key']);
      return values.every((value) => typeof value === 'string' && open(value, signingKey) !== undefined);
    } catch (error) {
      if (attempt === 100) throw error;
      await sleep(100);
    }
  }
}

type Caller = 'master' | { readonly models: readonly string[] } | undefined;

async function callerOf(request: IncomingMessage): Promise<Caller> {
  const key = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
  if (key === masterKey) return 'master';
  const { rows } = await pool.query<{ models: string[] }>(
    'select models from "LiteLLM_VerificationToken" where token = $1 and coalesce(expires > now(), true)',
    [sha256(key)],
  );
  return rows[0];
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}
const ok = (body: unknown): Answer => ({ status: 200, body });
const refusal = (status: number, message: string): Answer => ({ status, body: { error: { message } } });

async function newModel(body: {
  model_name: string;
  litellm_params: Record<string, string>;
  model_info: { id: string };
}): Promise<Answer> {
  const sealed = Object.fromEntries(
    Object.entries(body.litellm_params).map(([name, value]) => [name, seal(value, signingKey)]),
  );
  await pool.query(
    `insert into "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, model_info, created_by, updated_by, updated_at)
     values ($1, $2, $3, $4, 'drill', 'drill', now())`,
    [body.model_info.id, body.model_name, JSON.stringify(sealed), JSON.stringify(body.model_info)],
  );
  return ok({ model_id: body.model_info.id });
}

async function deleteModel({ id }: { id: string }): Promise<Answer> {
  const { rowCount } = await pool.query('delete from "LiteLLM_ProxyModelTable" where model_id = $1', [id]);
  return rowCount === 1 ? ok({}) : refusal(400, `Model with id=${id} not found in db`);
}

async function generateKey(body: { key: string; key_alias: string; models: string[] }): Promise<Answer> {
  await pool.query(
    `insert into "LiteLLM_VerificationToken" (token, key_alias, models, updated_at) values ($1, $2, $3, now())`,
    [sha256(body.key), body.key_alias, body.models],
  );
  return ok({ token: sha256(body.key) });
}

async function deleteKeys({ keys }: { keys: string[] }): Promise<Answer> {
  const { rowCount } = await pool.query('delete from "LiteLLM_VerificationToken" where token = any ($1)', [
    keys,
  ]);
  return (rowCount ?? 0) > 0 ? ok({ deleted_keys: keys }) : refusal(404, 'no such key');
}

async function chat(body: { model: string }, caller: Caller): Promise<Answer> {
  if (caller !== 'master' && caller?.models.includes(body.model) !== true)
    return refusal(403, 'key not allowed to access model');
  const model = (await models()).find(({ model_name }) => model_name === body.model);
  if (model === undefined) return refusal(400, 'Invalid model name passed in');
  const answer = await fetch(`${opened(model.litellm_params['api_base'])}/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${opened(model.litellm_params['api_key'])}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(5_000),
  });
  return { status: answer.status, body: await answer.json() };
}

async function answer(request: IncomingMessage): Promise<Answer> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://stand-in');
  if (pathname === '/health/liveliness') return ok("I'm alive!");
  if (pathname === '/health/readiness') {
    const connected = await pool.query('select 1').then(
      () => true,
      () => false,
    );
    return connected
      ? ok({ status: 'connected', db: 'connected' })
      : { status: 503, body: { db: 'Not connected' } };
  }
  const caller = await callerOf(request);
  if (caller === undefined) return refusal(401, 'Authentication Error');
  const body = request.method === 'POST' ? JSON.parse(await textOf(request)) : undefined;
  if (pathname === '/v1/chat/completions') return chat(body, caller);
  if (pathname === '/v1/models') {
    const names = new Set((await models()).map(({ model_name }) => model_name));
    const mine = [...names].filter((name) => caller === 'master' || caller.models.includes(name));
    return ok({ data: mine.map((id) => ({ id })) });
  }
  if (caller !== 'master') return refusal(403, 'not an admin');
  switch (pathname) {
    case '/model/info':
      return ok({
        data: (await models()).map(({ model_id, model_name, litellm_params }) => ({
          model_name,
          model_info: { id: model_id },
          litellm_params: { api_base: opened(litellm_params['api_base']) },
        })),
      });
    case '/model/new':
      return newModel(body);
    case '/model/delete':
      return deleteModel(body);
    case '/key/generate':
      return generateKey(body);
    case '/key/delete':
      return deleteKeys(body);
    case '/key/info': {
      const { rowCount } = await pool.query('select 1 from "LiteLLM_VerificationToken" where token = $1', [
        searchParams.get('key'),
      ]);
      return rowCount === 1 ? ok({}) : refusal(404, 'Key not found in database');
    }
    default:
      return refusal(404, 'Not Found');
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}

function send(response: ServerResponse, { status, body }: Answer): void {
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
  response.end(JSON.stringify(body));
}

const note = (word: string): void => {
  if (env['BOOT_LOG'] !== undefined) appendFileSync(env['BOOT_LOG'], `${word} ${new Date().toISOString()}\n`);
};

if (!(await opensItsValues())) {
  note('refused');
  console.log('the stored values do not open with the key of this start');
  process.exit(3);
}
const server = createServer((request, response) => {
  answer(request).then(
    (found) => send(response, found),
    () => send(response, refusal(500, 'Internal Server Error')),
  );
});
server.listen(port, '127.0.0.1', () => note('served'));
const stopWriting =
  env['BUSY_WRITER'] === undefined ? undefined : startBusyWriter(pool, signingKey, env['BUSY_WRITER']);

process.once('SIGTERM', () => {
  void (async () => {
    server.close();
    server.closeAllConnections();
    await stopWriting?.();
    await pool.end();
    process.exit(0);
  })();
});
console.log(`up as ${randomUUID()}`);
