import { replaceByStandIn } from '../../drill/deployment.ts';
import { newKey, seedTemplate } from '../../drill/seed.ts';
import { seal } from '../../drill/sealing.ts';
import { withClient } from '../../lab/postgres.ts';
import type { Lab } from './lab.ts';
import type { Serving } from './rollback-lab.ts';

/** A running deployment with the drill's stand-in for LiteLLM, for cases that are not about LiteLLM itself. */
export async function deployStandIn(lab: Lab, name: string): Promise<Serving> {
  const seeded = { keys: { master: newKey(), salt: newKey() }, virtualKey: newKey() };
  const template = `${name}_template`;
  await seedTemplate(lab.postgres, template, seeded);
  await withClient(lab.postgres.url(template), (client) =>
    client.query(
      `update "LiteLLM_ProxyModelTable" set litellm_params = jsonb_set(litellm_params, '{api_base}', to_jsonb($1::text)) where model_name = 'm-0'`,
      [seal(lab.provider.url, seeded.keys.salt, 'legacy')],
    ),
  );
  const real = await lab.deploy(name, { template, keys: seeded.keys });
  const deployment = { ...real, ...(await replaceByStandIn(real)) };
  await deployment.start();
  return { deployment, master: seeded.keys.master, virtualKey: seeded.virtualKey, model: 'm-0' };
}
