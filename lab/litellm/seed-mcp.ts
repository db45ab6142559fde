import { nowhere, post, type SeedInput, type SeedRequest } from './seed-request.ts';

/** Credentials of MCP servers, and what users store for them. `static_headers` and `env` are sealed as one JSON string each. */
export function mcpServers({ secret, keys }: SeedInput): SeedRequest[] {
  const server = (name: string, more: object): SeedRequest =>
    post(`mcp ${name}`, '/v1/mcp/server', {
      server_id: `mcp-${name}`,
      server_name: `mcp_${name}`,
      alias: `mcp_${name}`,
      transport: 'http',
      url: `${nowhere}/mcp`,
      ...more,
    });
  const perUser = (name: string, path: string, body: object): SeedRequest =>
    post(name, path, body, keys.user);
  const idp = 'https://idp.example.invalid';
  return [
    server('bearer', {
      auth_type: 'bearer_token',
      credentials: { auth_value: secret('mcp-auth') },
      static_headers: { 'x-token': secret('mcp-static-header') },
      env: { MCP_TOKEN: secret('mcp-env') },
    }),
    server('oauth', {
      auth_type: 'oauth2',
      credentials: { client_id: secret('mcp-client-id'), client_secret: secret('mcp-client-secret') },
      authorization_url: `${idp}/authorize`,
      token_url: `${idp}/token`,
    }),
    server('aws', {
      auth_type: 'aws_sigv4',
      credentials: {
        aws_access_key_id: secret('mcp-aws-id'),
        aws_secret_access_key: secret('mcp-aws-secret'),
        aws_session_token: secret('mcp-aws-session'),
        aws_region_name: 'eu-west-1',
        aws_service_name: 's',
      },
    }),
    server('byok', { auth_type: 'bearer_token', is_byok: true, byok_description: ['d'] }),
    server('vars', {
      auth_type: 'none',
      static_headers: { authorization: 'Bearer ${USER_TOKEN}' },
      env_vars: [
        { name: 'GLOBAL_TOKEN', value: secret('mcp-global-var'), scope: 'global' },
        { name: 'USER_TOKEN', scope: 'user', description: 'd' },
      ],
    }),
    // What a user stores needs a caller with a user id.
    post('key of user-1', '/key/generate', {
      key: keys.user,
      key_alias: 'key-user-1',
      user_id: 'user-1',
      object_permission: { mcp_servers: ['mcp-byok', 'mcp-oauth', 'mcp-vars'] },
    }),
    perUser('mcp user credential', '/v1/mcp/server/mcp-byok/user-credential', {
      credential: secret('mcp-user-cred'),
      save: true,
    }),
    perUser('mcp oauth user credential', '/v1/mcp/server/mcp-oauth/oauth-user-credential', {
      access_token: secret('mcp-user-access'),
      refresh_token: secret('mcp-user-refresh'),
      expires_in: 3600,
      scopes: ['a'],
    }),
    perUser('mcp user env vars', '/v1/mcp/server/mcp-vars/user-env-vars', {
      values: { USER_TOKEN: secret('mcp-user-var') },
    }),
  ];
}
