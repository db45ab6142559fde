import { nowhere, post, type SeedInput, type SeedRequest } from './seed-request.ts';

/** What an administrator configures in the database. Pass-through endpoints, vector stores and agents stay in clear. */
export function settings({ secret, clear, url }: SeedInput): SeedRequest[] {
  return [
    post('environment variables', '/config/update', {
      environment_variables: {
        LANGFUSE_PUBLIC_KEY: secret('env-lf-public'),
        LANGFUSE_SECRET_KEY: secret('env-lf-secret'),
        SMTP_PASSWORD: secret('env-smtp'),
      },
    }),
    post('general settings', '/config/update', { general_settings: { alerting: ['email'] } }),
    post('one general setting', '/config/field/update', {
      field_name: 'max_parallel_requests',
      field_value: 100,
      config_type: 'general_settings',
    }),
    post('guardrail', '/guardrails', {
      guardrail: {
        guardrail_name: 'g-lakera',
        litellm_params: {
          guardrail: 'lakera_v2',
          mode: 'pre_call',
          api_key: secret('guardrail'),
          api_base: nowhere,
          default_on: false,
        },
      },
    }),
    post('search tool', '/search_tools', {
      search_tool: {
        search_tool_name: 'st-1',
        litellm_params: { search_provider: 'tavily', api_key: secret('search-tool') },
      },
    }),
    post('vector store', '/vector_store/new', {
      vector_store_id: 'vs-1',
      custom_llm_provider: 'openai',
      vector_store_name: 'vs',
      litellm_params: { api_key: clear('vector-store') },
    }),
    post('vector store by credential', '/vector_store/new', {
      vector_store_id: 'vs-2',
      custom_llm_provider: 'openai',
      litellm_credential_name: 'cred-openai',
    }),
    post('pass-through endpoint', '/config/pass_through_endpoint', {
      path: '/pt',
      target: nowhere,
      headers: { authorization: `Bearer ${clear('pass-through')}` },
    }),
    post('agent', '/v1/agents', {
      agent_name: 'agent-1',
      agent_card_params: {
        protocolVersion: '1.0',
        name: 'a',
        description: 'd',
        url: `${nowhere}/`,
        version: '1',
        defaultInputModes: ['text'],
        defaultOutputModes: ['text'],
        capabilities: {},
        skills: [],
      },
      litellm_params: { api_key: clear('agent') },
      static_headers: { 'x-token': clear('agent-header') },
    }),
    {
      name: 'SSO settings',
      method: 'PATCH',
      path: '/update/sso_settings',
      body: {
        google_client_id: 'google-id',
        google_client_secret: secret('sso-google'),
        proxy_base_url: url,
        user_email: 'admin@example.invalid',
      },
    },
    post('cloudzero', '/cloudzero/init', {
      api_key: secret('cloudzero'),
      connection_id: 'c',
      timezone: 'UTC',
    }),
    post('vantage', '/vantage/init', {
      api_key: secret('vantage'),
      integration_token: secret('vantage-token'),
    }),
    post('prompt', '/prompts', {
      prompt_id: 'prompt-1',
      litellm_params: {
        prompt_id: 'prompt-1',
        prompt_integration: 'dotprompt',
        dotprompt_content: '---\nmodel: x\n---\nhi',
      },
    }),
  ];
}
