import type { Connections } from '../reencryption/postgres/connection.ts';

/**
 * Settings by which LiteLLM reaches out as soon as it has read them: a cache that it shares with the service (and through
 * which it would take over the service's spend), a key manager, which it asks for settings of its own, too, callbacks,
 * alerts, exports of what was spent, its own telemetry. Nobody calls it, and so it calls no model; but it asks each provider
 * with an address of its own for its list of models when it starts, unless it is told not to.
 * Source: LiteLLM 1.106.2 and 1.110.2, proxy/proxy_server.py (`_update_config_from_db`, `_init_cache_settings_in_db`,
 * `refresh_model_info`); 1.106.2 and 1.108.7, there (`_init_hashicorp_vault_config_override`,
 * `_init_cyberark_config_override`); proxy/telemetry/store.py (`SETTINGS_PARAM`).
 */
const tables = ['LiteLLM_CacheConfig', 'LiteLLM_ConfigOverrides', 'LiteLLM_Config'] as const;
const statements: Readonly<Record<(typeof tables)[number], string>> = {
  LiteLLM_CacheConfig: 'delete from "LiteLLM_CacheConfig"',
  LiteLLM_ConfigOverrides: 'delete from "LiteLLM_ConfigOverrides"',
  LiteLLM_Config: `delete from "LiteLLM_Config" where param_name in
    ('environment_variables', 'litellm_settings', 'general_settings', 'cloudzero_settings', 'vantage_settings',
     'telemetry_settings');
    insert into "LiteLLM_Config" (param_name, param_value) values ('general_settings', '{"disable_model_info_refresh": true}')`,
};

/** Takes them from a clone. They were re-encrypted and counted before, as all others. */
export function quieten(clone: Connections): Promise<void> {
  return clone.transaction('taking the settings that reach out from the clone', 'write', async (client) => {
    for (const table of tables) {
      const { rows } = await client.query<{ found: boolean }>('select to_regclass($1) is not null as found', [
        client.escapeIdentifier(table),
      ]);
      if (rows[0]?.found === true) await client.query(statements[table]);
    }
  });
}
