import { createHash, randomBytes } from 'node:crypto';
import { createLiteLLMDatabase } from '../lab/litellm/database.ts';
import { insertLicensedRows } from '../lab/litellm/licensed-rows.ts';
import { type Postgres, withClient } from '../lab/postgres.ts';
import { seal } from './sealing.ts';

/** What every database of the drill begins with. */
export interface Seeded {
  readonly keys: { readonly master: string; readonly salt: string };
  /** May call `m-0`. */
  readonly virtualKey: string;
}

const models = 60;
const credentials = 140;

export const newKey = (): string => `sk-${randomBytes(32).toString('base64url')}`;

/** The keys of all databases of a drill: their rows are sealed once, and copied. */
export function makeSeed(): Seeded {
  return { keys: { master: newKey(), salt: newKey() }, virtualKey: newKey() };
}

/** Fills a database of LiteLLM's schema with some hundred sealed values in all the places that LiteLLM has for them. */
export async function seedTemplate(
  postgres: Postgres,
  name: string,
  { keys, virtualKey }: Seeded,
): Promise<void> {
  const url = await createLiteLLMDatabase(postgres, name);
  const plain = (label: string): string => `PLAIN-${label}-${randomBytes(9).toString('hex')}`;
  const format = (at: number) => (at % 4 === 0 ? 'v2' : 'legacy');
  const sha256 = (key: string): string => createHash('sha256').update(key).digest('hex');
  await withClient(url, async (client) => {
    for (let at = 0; at < models; at += 1) {
      const params = {
        model: seal(`openai/gpt-${at}`, keys.salt, format(at)),
        api_base: seal('http://127.0.0.1:9/v1', keys.salt, format(at + 1)),
        api_key: seal(plain(`model-${at}`), keys.salt, format(at + 2)),
      };
      await client.query(
        `insert into "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, model_info, created_by, updated_by, updated_at)
         values ($1, $2, $3, jsonb_build_object('id', $1::text, 'db_model', true), 'drill', 'drill', now())`,
        [`model-${at}`, `m-${at}`, JSON.stringify(params)],
      );
    }
    for (let at = 0; at < credentials; at += 1) {
      const values = {
        api_key: seal(plain(`credential-${at}`), keys.salt, format(at)),
        note: 'stored in clear',
      };
      await client.query(
        `insert into "LiteLLM_CredentialsTable" (credential_id, credential_name, credential_values, created_by, updated_by, updated_at)
         values ($1, $1, $2, 'drill', 'drill', now())`,
        [`credential-${at}`, JSON.stringify(values)],
      );
    }
    await client.query(
      `insert into "LiteLLM_MCPServerTable" (server_id, server_name, url, credentials, updated_at) values ($1, $1, $2, $3, now())`,
      [
        'mcp-1',
        'http://127.0.0.1:9/mcp',
        JSON.stringify({ auth_value: seal(plain('mcp'), keys.salt, 'legacy') }),
      ],
    );
    // Rows of LiteLLMs of before the salt: under the master key.
    await client.query(
      `insert into "LiteLLM_CredentialsTable" (credential_id, credential_name, credential_values, created_by, updated_by, updated_at)
       values ('old', 'old', $1, 'drill', 'drill', now())`,
      [JSON.stringify({ api_key: seal(plain('old'), keys.master, 'legacy') })],
    );
    await client.query(
      `insert into "LiteLLM_VerificationToken" (token, key_alias, models, updated_at) values ($1, 'master', '{}', now()), ($2, 'user', '{m-0}', now())`,
      [sha256(keys.master), sha256(virtualKey)],
    );
  });
  await insertLicensedRows(url, keys.salt, plain);
}
