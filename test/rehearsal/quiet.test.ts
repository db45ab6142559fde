import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { freePort } from '../../lab/child.ts';
import { stopAll } from '../../lab/cleanup.ts';
import { createLiteLLMDatabase } from '../../lab/litellm/database.ts';
import { ensureLiteLLM } from '../../lab/litellm/install.ts';
import { emptyConfig, litellmArguments } from '../../lab/litellm/proxy.ts';
import { startPostgres, withClient } from '../../lab/postgres.ts';
import { generateKey } from '../../src/litellm/new-keys.ts';
import { never, sealed } from '../reencryption/database.ts';
import { fenceOf, rehearsalOf } from './rehearsal-of.ts';

afterAll(stopAll);

/** Twice the time after which LiteLLM looks at its database again, and some more. */
const watchedMs = 8_000;

test('a spare LiteLLM asks no provider for its models, no key manager, and nobody for headers, though the target is set to, and is reached from this machine alone', async () => {
  const asked: string[] = [];
  const outside = createServer(({ url }, response) => {
    asked.push(url ?? '');
    response.end('{"data":[]}');
  });
  await new Promise<void>((resolve) => outside.listen(0, '127.0.0.1', resolve));
  const outsideUrl = `http://127.0.0.1:${(outside.address() as AddressInfo).port}`;

  const url = await createLiteLLMDatabase(await startPostgres(), 'target');
  const keys = { master: generateKey(), salt: generateKey() };
  const seal = (text: string) => sealed(text, { label: 'salt key', key: keys.salt });
  await withClient(url, async (client) => {
    const params = {
      model: seal('openai/of-a-user'),
      api_base: seal(outsideUrl),
      api_key: seal('os.environ/IN_THE_KEY_MANAGER'),
    };
    await client.query(
      `insert into "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, model_info, created_by, updated_by) values ('m', 'of-a-user', $1, '{"id": "m"}', 'me', 'me')`,
      [JSON.stringify(params)],
    );
    // Without a licence LiteLLM refuses it, and asks it nevertheless.
    await client.query(
      `insert into "LiteLLM_ConfigOverrides" (config_type, config_value, updated_at) values ('cyberark', $1, now())`,
      [JSON.stringify({ cyberark_api_base: seal(outsideUrl), cyberark_api_key: seal('of-the-service') })],
    );
    await client.query(
      `insert into "LiteLLM_Config" (param_name, param_value) values
         ('anthropic_beta_headers_reload_config', '{"interval_hours": 24, "force_reload": true}'),
         ('general_settings', '{"disable_model_info_refresh": false}')`,
    );
  });

  const [install, port] = [await ensureLiteLLM(), await freePort()];
  const directory = await mkdtemp(join(tmpdir(), 'litellm-rotate-quiet-'));
  const config = join(directory, 'config.yaml');
  await writeFile(config, emptyConfig);
  const rehearsal = rehearsalOf(url, {
    start: [install.python, ...withoutHost(litellmArguments(install.bin, config, port))],
    port,
    cwd: directory,
    environment: {
      ...install.env,
      PROXY_CONFIG_RELOAD_INTERVAL_SECONDS: '3',
      LITELLM_ANTHROPIC_BETA_HEADERS_URL: `${outsideUrl}/headers`,
    },
  });
  await rehearsal.clone(fenceOf('r1'), never);
  await rehearsal.quieten('r1');
  const spare = await rehearsal.boot('r1', keys, never);
  try {
    await expect
      .poll(() => spare.proxy.models(keys.master).catch(() => []), { timeout: 240_000, interval: 500 })
      .toEqual(['of-a-user']);
    // One that listens on every address answers on this one, too.
    await expect(fetch(`http://127.0.0.2:${port}/health/liveliness`)).rejects.toMatchObject({
      cause: { code: 'ECONNREFUSED' },
    });
    await sleep(watchedMs);
  } finally {
    await spare.stop();
  }
  expect(asked).toEqual([]);

  await rehearsal.destroy('r1');
  await rehearsal.close();
  await rm(directory, { recursive: true });
  outside.close();
}, 300_000);

/** As people forget it. */
function withoutHost(args: readonly string[]): string[] {
  const at = args.indexOf('--host');
  return at === -1 ? [...args] : args.toSpliced(at, 2);
}
