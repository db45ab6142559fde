import { execa } from 'execa';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { untilStopped, stopAll } from './cleanup.ts';
import { createDeployment, type Deployment, writeConfig } from './deployment.ts';
import { startProvider } from './litellm/provider.ts';
import { seedLiteLLM } from './litellm/seed.ts';
import { startPostgres } from './postgres.ts';
import { stopwatch } from './report.ts';
import { startTemporal } from './temporal.ts';
import { cliPath, startWorker } from './worker.ts';

const keep = process.env['KEEP'] === '1';
const heading = (text: string) => console.log(`\n== ${text}`);
const since = stopwatch();

/** What anybody can see of the deployment from outside. */
async function look(
  deployment: Deployment,
  master: string,
  virtualKey: string,
  seen: readonly string[],
): Promise<void> {
  const get = (path: string, key: string, init: RequestInit = {}) =>
    fetch(deployment.url + path, {
      ...init,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    });
  const models = (await (await get('/v1/models', master)).json()) as { data?: { id: string }[] };
  console.log(
    `models served: ${(models.data ?? [])
      .map(({ id }) => id)
      .sort()
      .join(', ')}`,
  );
  const body = JSON.stringify({ model: 'm-provider', messages: [{ role: 'user', content: 'ping' }] });
  const answer = await get('/v1/chat/completions', virtualKey, { method: 'POST', body });
  const { choices } = (await answer.json()) as { choices?: { message: { content: string } }[] };
  console.log(
    `a call through a stored model, with a stored virtual key: ${answer.status} "${choices?.[0]?.message.content ?? ''}"`,
  );
  console.log(
    `the provider was sent ${seen.at(-1)?.startsWith('PLAIN-') === true ? 'its own stored credential' : 'something else than its credential'}`,
  );
}

async function main(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'litellm-rotate-demo-'));
  untilStopped(
    () => rm(directory, { recursive: true, force: true }),
    () => undefined,
  );
  heading('the real parts');
  const [temporal, postgres, provider] = await Promise.all([
    startTemporal(),
    startPostgres({ fsync: true }),
    startProvider(),
  ]);
  const deployment = await createDeployment({ postgres, directory: join(directory, 'demo'), name: 'demo' });
  await deployment.start();
  console.log(
    `temporal ${temporal.address}, its UI ${temporal.uiUrl}, postgres 127.0.0.1:${postgres.port}, litellm ${deployment.url} (${since()})`,
  );
  const { master, salt } = deployment.keys;
  const seeded = await seedLiteLLM({
    url: deployment.url,
    masterKey: master,
    databaseUrl: deployment.databaseUrl,
    signingKey: salt ?? master,
    providerUrl: provider.url,
  });
  console.log(
    `stored ${seeded.requests.length} things over its own API: models, credentials, keys, team callbacks, MCP servers, settings (${since()})`,
  );

  const config = join(directory, 'litellm-rotate.yaml');
  await writeConfig(config, [deployment]);
  await startWorker({ directory, config, temporalAddress: temporal.address, env: deployment.workerEnv });
  const run = (...args: string[]) =>
    execa(process.execPath, [cliPath, ...args], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { TEMPORAL_ADDRESS: temporal.address },
      reject: false,
    });

  heading('before');
  await look(deployment, master, seeded.virtualKey, provider.keys);
  heading('litellm-rotate plan demo');
  await run('plan', 'demo');
  heading('litellm-rotate rotate demo');
  const { exitCode } = await run('rotate', 'demo', '--workflow-id', 'rotate-demo-1', '--reason', 'make demo');
  if (exitCode !== 0)
    throw new Error(
      `the rotation ended with exit code ${exitCode ?? 'none'}; the worker's log is ${join(directory, 'worker.log')}`,
    );

  heading('after');
  const now = parseEnv(await readFile(deployment.keyFile, 'utf8'))['LITELLM_MASTER_KEY'] ?? '';
  await look(deployment, now, seeded.virtualKey, provider.keys);
  const status = async (key: string) =>
    (await fetch(`${deployment.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status;
  console.log(`the new master key: ${await status(now)}; the old one: ${await status(master)}`);
  await run('plan', 'demo');
  console.log(`\nthe finished workflow: ${temporal.uiUrl}/namespaces/default/workflows/rotate-demo-1`);
  console.log(`done in ${since()}`);
  if (!keep) {
    console.log('stopping everything; "make demo KEEP=1" leaves it running');
    return;
  }
  console.log(`
It is all running. Another rotation, by the plain temporal CLI:
  export TEMPORAL_ADDRESS=${temporal.address}
  temporal workflow start --type RotateMasterKey --task-queue litellm-rotate --input '{"target":"demo"}'
or by ours, from this directory:
  node src/cli.ts rotate demo
The key file is ${deployment.keyFile}; the proxy is ${deployment.url}.
Stop it with Ctrl-C.`);
  await new Promise(() => setInterval(() => undefined, 60_000));
}

try {
  await main();
} catch (error) {
  console.error(`demo: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await stopAll();
}
