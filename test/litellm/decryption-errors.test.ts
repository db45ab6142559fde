import { expect, test } from 'vitest';
import { findDecryptionErrors } from '../../src/litellm/decryption-errors.ts';

/** Lines as LiteLLM 1.106.2 and 1.110.2 print them. */
const errors = [
  '03:27:24 - LiteLLM Proxy:ERROR: encrypt_decrypt_utils.py:213 - Error decrypting value for key: api_key, Did your master_key/salt key change recently? ',
  '{"message": "Error decrypting value for key: model, Did your master_key/salt key change recently? \\nError: Decryption failed", "level": "ERROR"}',
  '03:27:24 - LiteLLM Proxy:WARNING: db.py:314 - MCP global env var TOKEN failed to decrypt (LITELLM_SALT_KEY changed?); dropping it so ciphertext is not sent upstream',
  '03:27:24 - LiteLLM Proxy:WARNING: db.py:857 - Skipping MCP server mcp-1: cannot decrypt secret map',
  '03:27:24 - LiteLLM Proxy:WARNING: db.py:1617 - MCP user credential for user=u server=s could not be decrypted (likely written under a previous LITELLM_SALT_KEY); the user is treated as not connected and must re-authorize.',
  '03:27:24 - LiteLLM Proxy:WARNING: search_tool_registry.py:186 - Search tool st-1 has litellm_params that do not decrypt with the current key; keeping the loaded version. Restart the proxy if the master key was rotated.',
  '03:27:24 - LiteLLM Proxy:WARNING: guardrail_registry.py:1175 - Guardrail g has litellm_params that do not decrypt with the current key; keeping the loaded values for them.',
  '03:46:13 - LiteLLM Router:WARNING: router.py:10368 - Error upserting deployment n (id=i): litellm.BadRequestError: LLM Provider NOT provided. Pass in the LLM provider you are trying to call. You passed model=FnKSn5ltHq-XEr85m-XnouWUxeb5qwHJJfncQTe0lFS6eIqxTc2O0CK1nDNB93ux',
  '05:00:20 - LiteLLM Router:WARNING: registry.py:1318 - Error upserting deployment n (id=i-on): litellm.BadRequestError: LLM Provider NOT provided. Pass in the LLM provider you are trying to call. You passed model=sCe14ovAOC4VSeIjp0l9uTDnPXM0wwUvzENBcCb0rFbfqANhA5TVVk07txrjFBWX',
  '03:46:14 - LiteLLM:ERROR: catalog.py:456 - Skipping MCP server mcp-1 (mcp_1) during DB reload: Cannot decode encrypted MCP static_headers; check LITELLM_SALT_KEY',
  'fastapi.exceptions.HTTPException: 400: Failed to decrypt CloudZero API key. Check your salt key configuration.',
];

test.for(errors)('counts %s', (line) => {
  expect(findDecryptionErrors([line])).toBe(1);
});

test('counts a message of several lines once', () => {
  expect(
    findDecryptionErrors([
      errors[0] as string,
      'Error: Decryption failed. Ciphertext failed verification',
      'Set permanent salt key - https://docs.litellm.ai/docs/proxy/prod#5-set-litellm-salt-key',
      'Traceback (most recent call last):',
      'nacl.exceptions.CryptoError: Decryption failed. Ciphertext failed verification',
    ]),
  ).toBe(1);
});

test.for([
  'INFO:     127.0.0.1:51054 - "GET /health/readiness HTTP/1.1" 200 OK',
  // A model that was misspelt, not one that does not open.
  '03:46:13 - LiteLLM Router:WARNING: router.py:10368 - Error upserting deployment n (id=i): litellm.BadRequestError: LLM Provider NOT provided. You passed model=gpt-fake',
  // A healthy proxy prints these: values that are in clear by design.
  '03:27:24 - LiteLLM Proxy:DEBUG: encrypt_decrypt_utils.py:206 - Error decrypting value for key: response_id, Did your master_key/salt key change recently? ',
  '{"message": "Error decrypting value for key: model, Did your", "level": "DEBUG"}',
  // What a caller with any virtual key asked for. As LiteLLM 1.108.7 prints it.
  "11:08:05 - LiteLLM Proxy:ERROR: common_request_processing.py:1839 - litellm.proxy.proxy_server._handle_llm_api_exception(): Exception occured - litellm_call_id=876a966b - 400: {'error': '/chat/completions: Invalid model name passed in model=x\\n03:27:24 - LiteLLM Proxy:ERROR: encrypt_decrypt_utils.py:213 - cannot decrypt secret map. Call `/v1/models` to view available models for your key.'}",
  'fastapi.exceptions.HTTPException: 400: /chat/completions: Invalid model name passed in model=Error upserting deployment n: You passed model=sCe14ovAOC4VSeIjp0l9uTDnPXM0wwUvzENBcCb0rFbfqANhA5TVVk07txrjFBWX. Call `/v1/models`',
  // What a client sent: a token of before the rotation, or of nobody.
  '03:27:24 - LiteLLM Proxy:ERROR: encrypt_decrypt_utils.py:213 - Error decrypting value for key: realtime_calls_auth, Did your master_key/salt key change recently? ',
  '03:27:24 - LiteLLM Proxy:ERROR: encrypt_decrypt_utils.py:213 - Error decrypting value for key: gateway_authorization_code, Did your master_key/salt key change recently? ',
])('passes over %s', (line) => {
  expect(findDecryptionErrors([line])).toBe(0);
});

// As one pattern, some hours each.
test.for(['Error upserting deployment ', 'You passed model='])(
  'is not held up by a line of many %s',
  (part) => {
    expect(findDecryptionErrors([part.repeat(200_000)])).toBe(0);
  },
);
