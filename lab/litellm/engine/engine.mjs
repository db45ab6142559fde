#!/usr/bin/env node
// Stands in for Prisma's native `query-engine`, which is served by a host that not every machine can reach: Prisma's own
// engine, compiled to WebAssembly (npm: @prisma/client), over a driver adapter on node-postgres. So planning, SQL, defaults,
// transactions and error codes are Prisma's own.
//
// prisma-client-py starts it with `-p PORT --enable-raw-queries`, PRISMA_DML_PATH (the datamodel) and maybe
// OVERWRITE_DATASOURCES, waits for GET /status, and POSTs GraphQL to `/`.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const ENGINE_HASH = '393aa359c9ad4a4bb28630fb5613f9c281cde053'; // Prisma 5.17.0
const argv = process.argv.slice(2);
if (argv.includes('--version')) {
  process.stdout.write(`query-engine ${ENGINE_HASH}\n`);
  process.exit(0);
}

const require = createRequire(import.meta.url);
const { default: pg } = await import('pg');
const { bindAdapter } = require('@prisma/driver-adapter-utils');
const { translator, fromJsonProtocol } = await import('./translate.mjs');
const { PgAdapter, poolSettings } = await import('./pg-adapter.mjs');

const log = (...parts) => process.stderr.write(`[query engine ${process.pid}] ${parts.join(' ')}\n`);
const option = (...names) => {
  const i = argv.findIndex((a) => names.includes(a));
  return i < 0 ? undefined : argv[i + 1];
};

function datasourceUrl(datamodel) {
  const overrides = JSON.parse(process.env.OVERWRITE_DATASOURCES || '[]');
  if (overrides.length > 0 && overrides[0].url) return overrides[0].url;
  const block = /datasource\s+\w+\s*\{([^}]*)\}/.exec(datamodel)?.[1] ?? '';
  const fromEnv = /\burl\s*=\s*env\("([^"]+)"\)/.exec(block)?.[1];
  if (fromEnv !== undefined) {
    if (!process.env[fromEnv]) throw new Error(`environment variable not found: ${fromEnv}`);
    return process.env[fromEnv];
  }
  return /\burl\s*=\s*"([^"]+)"/.exec(block)?.[1];
}

function loadWasm() {
  const js = require.resolve('@prisma/client/runtime/query_engine_bg.postgresql.js');
  const glue = require(js);
  const module = new WebAssembly.Module(readFileSync(js.replace(/\.js$/, '.wasm')));
  glue.__wbg_set_wasm(new WebAssembly.Instance(module, { './query_engine_bg.js': glue }).exports);
  return glue.QueryEngine;
}

const datamodel = readFileSync(process.env.PRISMA_DML_PATH, 'utf8');
const toJsonProtocol = translator(datamodel);
const { pool: settings, schema } = poolSettings(datasourceUrl(datamodel));
const pool = new pg.Pool(settings);
pool.on('error', (error) => log('idle connection lost:', error.message));

const QueryEngine = loadWasm();
const adapter = bindAdapter(new PgAdapter(pool, schema));
const engine = new QueryEngine(
  {
    datamodel,
    logLevel: 'error',
    logQueries: false,
    datasourceOverrides: {},
    env: {},
    configDir: '.',
    engineProtocol: 'json',
  },
  () => undefined, // its own log
  adapter,
);

// What fails outside SQL (no connection, pool exhausted) comes back as P2036 "error in external connector (id N)".
// The native engine says P1001 or P2024 there, and LiteLLM tells a lost database by such codes.
function nativeError(error) {
  const facing = error?.user_facing_error;
  if (facing?.error_code !== 'P2036') return error;
  const cause = adapter.errorRegistry.consumeError(facing.meta.id)?.error;
  const { hostname, port } = new URL(settings.connectionString);
  const timedOut = /timeout exceeded when trying to connect/.test(cause?.message ?? '');
  const as = timedOut
    ? { error_code: 'P2024', message: 'Timed out fetching a new connection from the connection pool.' }
    : { error_code: 'P1001', message: `Can't reach database server at \`${hostname}:${port || 5432}\`` };
  log(as.error_code, cause?.message ?? '');
  return { error: as.message, user_facing_error: { is_panic: false, meta: {}, ...as } };
}
function withNativeErrors(answer) {
  if (!answer.includes('"P2036"')) return answer;
  const body = JSON.parse(answer);
  return JSON.stringify({ ...body, errors: body.errors?.map(nativeError) });
}
const TRACE = '{}';
await engine.connect(TRACE);

async function query(body, txId) {
  if (Array.isArray(body.batch)) {
    const parts = body.batch.map((item) => toJsonProtocol(item.query));
    const request = {
      batch: parts.map((part) => part.query),
      transaction: body.transaction ? { isolationLevel: body.isolationLevel ?? null } : undefined,
    };
    const answer = withNativeErrors(await engine.query(JSON.stringify(request), TRACE, txId));
    const parsed = JSON.parse(answer);
    if (!Array.isArray(parsed.batchResult)) return answer;
    return JSON.stringify({
      ...parsed,
      batchResult: parsed.batchResult.map((one, i) =>
        JSON.parse(fromJsonProtocol(JSON.stringify(one), parts[i])),
      ),
    });
  }
  const part = toJsonProtocol(body.query);
  return fromJsonProtocol(
    withNativeErrors(await engine.query(JSON.stringify(part.query), TRACE, txId)),
    part,
  );
}

const STATUS_OF = { P2028: 400, P2024: 504 };
function settled(answer) {
  const body = JSON.parse(answer ?? '{}');
  return typeof body?.error_code === 'string'
    ? [STATUS_OF[body.error_code] ?? 500, JSON.stringify(body)]
    : [200, JSON.stringify(body ?? {})];
}

async function route(method, path, headers, read) {
  if (method === 'GET' && path === '/status') return [200, '{"status":"ok"}'];
  if (method === 'GET' && path.startsWith('/metrics')) {
    return path.includes('format=prometheus')
      ? [200, '']
      : [200, '{"counters":[],"gauges":[],"histograms":[]}'];
  }
  if (method === 'POST' && path === '/transaction/start') {
    const { max_wait, timeout, isolation_level } = JSON.parse(await read());
    return settled(
      await engine.startTransaction(JSON.stringify({ max_wait, timeout, isolation_level }), TRACE),
    );
  }
  const tx = /^\/transaction\/([^/]+)\/(commit|rollback)$/.exec(path);
  if (method === 'POST' && tx) {
    return settled(
      await (tx[2] === 'commit'
        ? engine.commitTransaction(tx[1], TRACE)
        : engine.rollbackTransaction(tx[1], TRACE)),
    );
  }
  if (method === 'POST' && path === '/') {
    const text = await read();
    return [200, await query(JSON.parse(text), headers['x-transaction-id'])];
  }
  return [404, '{}'];
}

const readBody = async (req) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
};

const server = createServer(async (req, res) => {
  let status;
  let body;
  try {
    [status, body] = await route(req.method, req.url, req.headers, () => readBody(req));
  } catch (error) {
    log(`${req.method} ${req.url} failed:`, error?.stack ?? error);
    [status, body] = [500, JSON.stringify({ error: String(error?.message ?? error) })];
  }
  res.writeHead(status, { 'content-type': 'application/json' }).end(body);
});
server.keepAliveTimeout = 120_000; // httpx keeps connections; a short value here means resets there
server.listen(
  Number(option('-p', '--port') ?? process.env.PORT ?? 4466),
  option('-H', '--host') ?? '127.0.0.1',
);

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) process.exit(0);
}, 1000).unref(); // no orphan when the proxy is killed
