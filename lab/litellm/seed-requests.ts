import { mcpServers } from './seed-mcp.ts';
import { nowhere, post, type SeedInput, type SeedRequest } from './seed-request.ts';
import { settings } from './seed-settings.ts';

/** One of everything that holds a secret and can be stored over HTTP without a licence, in an order that works. */
export function seedRequests(input: SeedInput): SeedRequest[] {
  return [
    ...models(input),
    ...people(input),
    ...mcpServers(input),
    ...settings(input),
    ...proofsOfLife(input),
  ];
}

/** Every string of `litellm_params` is sealed by itself; a nested object (`extra_headers`) stays in clear. */
function models({ secret, clear, providerUrl }: SeedInput): SeedRequest[] {
  const model = (name: string, params: object): SeedRequest =>
    post(`model ${name}`, '/model/new', {
      model_name: name,
      litellm_params: params,
      model_info: { id: `id-${name}` },
    });
  const mocked = (name: string, params: object): SeedRequest =>
    model(name, { ...params, mock_response: `hello from ${name}` });
  const vertex = (): string => JSON.stringify({ type: 'service_account', private_key: secret('vertex') });
  const aws = (label: string): object => ({
    aws_access_key_id: secret(`${label}-id`),
    aws_secret_access_key: secret(`${label}-secret`),
  });
  const credential = (name: string, provider: string, values: object): SeedRequest =>
    post(`credential ${name}`, '/credentials', {
      credential_name: name,
      credential_info: { custom_llm_provider: provider },
      credential_values: values,
    });
  const byCredential = (name: string): object => ({
    model: 'openai/gpt-fake',
    litellm_credential_name: name,
  });
  return [
    mocked('m-openai', {
      model: 'openai/gpt-fake',
      api_key: clear('openai-first'),
      api_base: `${nowhere}/v1`,
    }),
    mocked('m-azure', {
      model: 'azure/dep',
      api_key: secret('azure'),
      api_base: 'https://example.invalid',
      api_version: '2024-02-01',
    }),
    mocked('m-bedrock', { model: 'bedrock/x', ...aws('aws'), aws_region_name: 'eu-west-1' }),
    mocked('m-vertex', {
      model: 'vertex_ai/x',
      vertex_project: 'p',
      vertex_location: 'l',
      vertex_credentials: vertex(),
    }),
    mocked('m-headers', {
      model: 'openai/gpt-fake',
      api_key: secret('headers-key'),
      extra_headers: { 'x-api-key': clear('extra-header') },
    }),
    credential('cred-openai', 'openai', { api_key: secret('cred'), api_base: `${nowhere}/v1` }),
    credential('cred-bedrock', 'bedrock', aws('cred-aws')),
    credential('cred-provider', 'openai', {
      api_key: secret('provider-by-credential'),
      api_base: providerUrl,
    }),
    mocked('m-by-cred', byCredential('cred-openai')),
    model('m-provider', { model: 'openai/gpt-provider', api_key: secret('provider'), api_base: providerUrl }),
    model('m-provider-by-cred', byCredential('cred-provider')),
    {
      name: 'model patched',
      method: 'PATCH',
      path: '/model/id-m-openai/update',
      body: { litellm_params: { api_key: secret('openai') } },
    },
  ];
}

/** Callback variables in the metadata of users, teams and keys carry the marker `litellm_enc::`. */
function people({ secret, clear, keys }: SeedInput): SeedRequest[] {
  const langfuse = (label: string, make = secret): object => ({
    callback_name: 'langfuse',
    callback_type: 'success',
    callback_vars: {
      langfuse_public_key: make(`${label}-lf-public`),
      langfuse_secret_key: make(`${label}-lf-secret`),
      langfuse_host: nowhere,
    },
  });
  const logging = (label: string, make = secret): object => ({ logging: [langfuse(label, make)] });
  return [
    post('user', '/user/new', {
      user_id: 'user-1',
      user_email: 'user-1@example.invalid',
      user_role: 'internal_user',
      metadata: logging('user'),
    }),
    post('team', '/team/new', { team_id: 'team-1', team_alias: 'team one', metadata: logging('team') }),
    post('team 2', '/team/new', { team_id: 'team-2', team_alias: 'team two' }),
    post('team callback', '/team/team-2/callback', langfuse('team-callback')),
    post('virtual key', '/key/generate', {
      key: keys.virtual,
      key_alias: 'key-plain',
      models: ['m-openai', 'm-by-cred', 'm-provider', 'm-provider-by-cred'],
    }),
    post('virtual key with logging', '/key/generate', {
      key: keys.logging,
      key_alias: 'key-logging',
      team_id: 'team-2',
      metadata: logging('key-first', clear),
    }),
    post('key update', '/key/update', { key: keys.logging, metadata: logging('key') }),
    post('key to delete', '/key/generate', {
      key: keys.doomed,
      key_alias: 'key-doomed',
      metadata: logging('key-doomed'),
    }),
    post('key delete', '/key/delete', { keys: [keys.doomed] }),
    post('team to delete', '/team/new', { team_id: 'team-doomed', metadata: logging('team-doomed') }),
    post('team delete', '/team/delete', { team_ids: ['team-doomed'] }),
  ];
}

/** Calls with the virtual key. The second leaves an id with a sealed value in it (`resp_...`) in the spend log, some seconds later. */
function proofsOfLife({ keys }: SeedInput): SeedRequest[] {
  const chat = (model: string): SeedRequest =>
    post(
      `chat ${model}`,
      '/v1/chat/completions',
      { model, messages: [{ role: 'user', content: 'hi' }] },
      keys.virtual,
    );
  return [
    chat('m-openai'),
    post('responses', '/v1/responses', { model: 'm-openai', input: 'hi' }, keys.virtual),
    chat('m-by-cred'),
  ];
}
