import { looksSealed } from './sealed-text.ts';

/**
 * What LiteLLM logs, at level WARNING or above, when a stored value does not open.
 * Source: LiteLLM 1.110.2, under litellm/proxy: common_utils/encrypt_decrypt_utils.py (`decrypt_value_helper`,
 * `decode_secret_map`), mcp_server/db.py, guardrails/guardrail_registry.py, search_endpoints/search_tool_registry.py,
 * spend_tracking/cloudzero_endpoints.py and vantage_endpoints.py.
 */
const messages = [
  'Error decrypting value for key: ',
  'failed to decrypt (LITELLM_SALT_KEY',
  'cannot decrypt secret map',
  'Cannot decode encrypted MCP',
  'could not be decrypted (likely written under a previous LITELLM_SALT_KEY)',
  'do not decrypt with the current key',
  'Failed to decrypt CloudZero',
  'Failed to decrypt Vantage',
] as const;

/**
 * Names under which LiteLLM opens what a *client* sends: tokens of before the rotation, or of nobody. They end with the
 * previous salt key and say nothing about the stored values, and anybody could send one to make a rotation roll back.
 * Source: LiteLLM 1.110.2, under litellm/proxy: realtime_endpoints/endpoints.py, mcp_server/discoverable_endpoints.py,
 * mcp_server/gateway_dcr_flow.py.
 */
const heldByClients = [
  'realtime_calls_auth',
  'oauth_state',
  'bridge_authorization_code',
  'passthrough_authorization_code',
  'managed_authorization_code',
  'gateway_dcr_client',
  'gateway_connect_flow',
  'gateway_authorization_code',
] as const;

/**
 * Behind these, LiteLLM says what a caller has sent, a name of a model for one: whoever has a virtual key could write any of
 * the messages there. Source: a 1.108.7 proxy; litellm/proxy/common_request_processing.py (`_handle_llm_api_exception`).
 */
const ofCallers = /Exception occurr?ed - |passed in model=/;

// Plain lines read `LiteLLM Proxy:DEBUG:`, JSON lines `"level": "DEBUG"`. Values that are in clear by design are
// reported at that level by a healthy proxy.
const debugLevel = /:DEBUG:|"level":\s*"DEBUG"/;

/**
 * A model whose parameters do not open goes without any of the messages above, at the default level: the router is given
 * ciphertext in the place of the provider's model, and drops it.
 * Source: a 1.106.2 and a 1.110.2 proxy, started with another salt key; litellm/router.py (`Error upserting deployment`), since 1.110
 * litellm/router_rust/surface/registry.py.
 */
const dropped = ['Error upserting deployment ', 'You passed model='] as const;

/** How many lines of a LiteLLM log report a stored value that did not open. */
export function findDecryptionErrors(lines: readonly string[]): number {
  return lines.filter(isDecryptionError).length;
}

function isDecryptionError(whole: string): boolean {
  const [line = ''] = whole.split(ofCallers, 1);
  const passed = passedModel(line);
  if (passed !== undefined) return looksSealed(passed);
  if (!messages.some((message) => line.includes(message)) || debugLevel.test(line)) return false;
  return !heldByClients.some((name) => line.includes(`value for key: ${name},`));
}

// Not as one pattern: a line that repeats its first part, as a user of LiteLLM can have one logged, would take hours.
function passedModel(line: string): string | undefined {
  const [report, passing] = dropped;
  const from = line.indexOf(report);
  const at = line.lastIndexOf(passing);
  if (from === -1 || at < from) return undefined;
  return /^[^\s'"]+/.exec(line.slice(at + passing.length))?.[0];
}
