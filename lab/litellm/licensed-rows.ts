import { createHash } from 'node:crypto';
import sodium, { ready } from 'libsodium-wrappers';
import type { Client } from 'pg';
import { withClient } from '../postgres.ts';

/**
 * Seals a text in LiteLLM's legacy format: SHA-256 of the signing key, XSalsa20-Poly1305, nonce in front, padded base64 with
 * the URL-safe alphabet (`encrypt_value_helper`, proxy/common_utils/encrypt_decrypt_utils.py).
 */
export async function sealLegacy(text: string, signingKey: string): Promise<string> {
  await ready;
  const key = createHash('sha256').update(signingKey).digest();
  const nonce = sodium.randombytes_buf(sodium.crypto_secretbox_NONCEBYTES);
  const sealed = Buffer.concat([nonce, sodium.crypto_secretbox_easy(text, nonce, key)]);
  return sealed.toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}

/**
 * Rows that LiteLLM writes only with an enterprise licence or at the end of an OAuth dance, put in by SQL in the shape in
 * which its code writes them.
 */
export async function insertLicensedRows(
  databaseUrl: string,
  signingKey: string,
  secret: (label: string) => string,
): Promise<void> {
  const seal = (text: string): Promise<string> => sealLegacy(text, signingKey);
  const callback = async (label: string): Promise<string> =>
    JSON.stringify({
      metadata: {
        logging: [
          {
            callback_name: 'langfuse',
            callback_vars: { langfuse_secret_key: `litellm_enc::${await seal(secret(label))}` },
          },
        ],
      },
    });
  const assertion = {
    id_token: secret('id-token'),
    refresh_token: secret('refresh'),
    issuer: 'https://idp.example.invalid',
  };
  const rows: (readonly [sql: string, ...values: string[]])[] = [
    [
      'insert into "LiteLLM_ConfigOverrides" (config_type, config_value, updated_at) values ($1, $2, now())',
      'hashicorp_vault',
      JSON.stringify({
        vault_addr: await seal('http://127.0.0.1:9'),
        vault_token: await seal(secret('vault')),
      }),
    ],
    [
      'insert into "LiteLLM_SSOIdentityAssertion" (user_id, assertion_b64) values ($1, $2)',
      'user-1',
      await seal(JSON.stringify(assertion)),
    ],
    [
      'insert into "LiteLLM_MCPServerOAuthClient" (server_id, credentials) values ($1, $2)',
      'mcp-oauth',
      JSON.stringify({
        client_id: await seal(secret('dcr-id')),
        client_secret: await seal(secret('dcr-secret')),
      }),
    ],
    [
      'insert into "LiteLLM_Config" (param_name, param_value) values ($1, $2)',
      'roi_calculator_settings',
      JSON.stringify({
        github_token: await seal(secret('roi-github')),
        connections: [{ id: 'c1', github_token: await seal(secret('roi-nested')) }],
      }),
    ],
    [
      'insert into "LiteLLM_CacheConfig" (id, cache_settings, updated_at) values ($1, $2, now())',
      'cache_config_off',
      JSON.stringify({
        type: await seal('redis'),
        host: await seal('127.0.0.1'),
        password: await seal(secret('cache')),
      }),
    ],
    [
      `insert into "LiteLLM_AuditLog" (id, updated_at, action, table_name, object_id, before_value, updated_values)
       values ($1, now(), 'updated', 'LiteLLM_TeamTable', 'team-1', $2, $3)`,
      'audit-1',
      await callback('audit-before'),
      await callback('audit-after'),
    ],
  ];
  await withClient(databaseUrl, async (client) => {
    // New after 1.106; what `connect_user_provider_credential` stores at the end of GitHub's device flow.
    if (await hasTable(client, 'LiteLLM_UserProviderCredentials')) {
      rows.push([
        `insert into "LiteLLM_UserProviderCredentials" (id, user_id, credential_name, provider, credential_b64)
         values ('connection-1', 'user-1', 'copilot', 'github_copilot', $1)`,
        await seal(JSON.stringify({ access_token: secret('copilot'), github_login: 'user-1' })),
      ]);
    }
    for (const [sql, ...values] of rows) await client.query(sql, values);
  });
}

async function hasTable(client: Client, name: string): Promise<boolean> {
  const { rows } = await client.query('select 1 from pg_tables where tablename = $1', [name]);
  return rows.length > 0;
}
