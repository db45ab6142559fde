"""Fills a database of LiteLLM's schema with sealed values, sealed by LiteLLM's own functions.

Reads {"url", "key", "values", "seed", "plainKeys", "spendLogs"} as JSON on stdin, writes {"values", "rows"} on stdout.

The same seed gives the same database byte for byte: nonces come from the seed, too, which only a benchmark may do.
Every sealed value stands in a column that LiteLLM's own re-encryption knows, so that both sides have the same work.
"""

import base64
import hashlib
import json
import os
import random
import sys
import uuid
from datetime import datetime

answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # what LiteLLM prints while it is imported must not look like an answer

import nacl.secret  # noqa: E402
import psycopg  # noqa: E402
from litellm.proxy.common_utils import encrypt_decrypt_utils as litellm  # noqa: E402
from litellm.proxy.common_utils.callback_utils import CALLBACK_VAR_ENCRYPTED_PREFIX as MARKER  # noqa: E402

AT = datetime(2026, 1, 1)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
# Every 16th pair is an MCP server's: an update of one also bumps LiteLLM_Config, by a trigger of LiteLLM's.
SHARES = {"models": 0.62, "credentials": 0.10, "keys": 0.12, "teams": 0.06, "mcp": 0.04, "users": 0.05}


class Sealer:
    """Seals under one key; a row is in one format, three of ten rows in the newer one."""

    def __init__(self, key, seed):
        self.key, self.random, self.count, self.form = key, random.Random(seed), 0, "legacy"
        nonces = random.Random(f"nonces of {seed}")
        nacl.secret.random = nonces.randbytes
        litellm.os = type("SeededOs", (), {"urandom": staticmethod(nonces.randbytes), "getenv": os.getenv})

    def next_row(self):
        self.form = "v2" if self.random.random() < 0.3 else "legacy"

    def seal(self, text):
        self.count += 1
        if self.form == "v2":
            return litellm._encrypt_aes_gcm(value=text, signing_key=self.key)
        return base64.urlsafe_b64encode(litellm.encrypt_value(value=text, signing_key=self.key)).decode("utf-8")

    def word(self, length):
        return "".join(self.random.choices(LETTERS, k=length))

    def uuid(self):
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def digest(self):
        return hashlib.sha256(self.random.randbytes(16)).hexdigest()


def service_account(s):
    """A service account's key file, about 2.3 KB."""
    project = f"project-{s.word(8).lower()}"
    mail = f"llm@{project}.iam.gserviceaccount.com"
    return json.dumps({
        "type": "service_account", "project_id": project, "private_key_id": s.word(40),
        "private_key": f"-----BEGIN PRIVATE KEY-----\n{s.word(1624)}\n-----END PRIVATE KEY-----\n",
        "client_email": mail, "client_id": str(s.random.getrandbits(68)),
        "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": "https://oauth2.googleapis.com/token",
        "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{mail}",
    })


def model(s):
    kind = s.random.random()
    if kind < 0.05:
        sealed = {"model": "vertex_ai/gemini-2.5-pro", "vertex_project": s.word(12), "vertex_location": "europe-west1",
                  "vertex_credentials": service_account(s), "custom_llm_provider": "vertex_ai", "region_name": "eu"}
    elif kind < 0.25:
        sealed = {"model": "bedrock/anthropic.claude-sonnet", "aws_access_key_id": f"AKIA{s.word(16)}",
                  "aws_secret_access_key": s.word(40), "aws_region_name": "eu-west-1",
                  "custom_llm_provider": "bedrock", "aws_session_name": s.word(16)}
    else:
        sealed = {"model": f"azure/gpt-{s.word(6)}", "api_key": f"sk-proj-{s.word(s.random.randint(40, 150))}",
                  "api_base": f"https://{s.word(12).lower()}.openai.azure.com", "api_version": "2025-04-01-preview",
                  "custom_llm_provider": "azure", "litellm_credential_name": s.word(20)}
    params = {name: s.seal(text) for name, text in sealed.items()}
    return {**params, "use_in_pass_through": False, "rpm": 600, "input_cost_per_token": 0.00000125, "tags": ["prod"]}


def callback(s):
    names = ("langfuse_public_key", "langfuse_secret_key", "langfuse_host")
    variables = {name: MARKER + s.seal(f"pk-lf-{s.uuid()}") for name in names}
    entry = {"callback_name": "langfuse", "callback_type": "success", "callback_vars": variables}
    return {"logging": [entry], "owner": s.word(10)}


def models(s):
    info = json.dumps({"id": s.uuid(), "db_model": True, "mode": "chat", "max_tokens": 128000})
    return s.uuid(), f"model-{s.word(8)}", json.dumps(model(s)), info, AT, "admin", AT, "admin"


def credentials(s):
    if s.random.random() < 0.3:
        values = {"vertex_credentials": s.seal(service_account(s)), "vertex_project": s.seal(s.word(12))}
    else:
        values = {"api_key": s.seal(f"sk-{s.word(48)}"), "api_base": s.seal(f"https://{s.word(10)}.example.invalid")}
    info = json.dumps({"custom_llm_provider": "openai"})
    return s.uuid(), f"credential-{s.word(12)}", json.dumps(values), info, AT, "admin", AT, "admin"


def keys(s):
    return s.digest(), f"sk-...{s.word(4)}", f"alias-{s.word(10)}", ["gpt-5", "claude"], json.dumps(callback(s)), AT, AT


def teams(s):
    return s.uuid(), f"team-{s.word(8)}", ["admin"], ["admin"], ["gpt-5"], json.dumps(callback(s)), AT, AT


def mcp(s):
    credentials = {"client_id": s.seal(s.word(24)), "client_secret": s.seal(s.word(48))}
    # One sealed JSON text for the whole map, kept as a jsonb string.
    headers, env = s.seal(json.dumps({"x-token": s.word(32)})), s.seal(json.dumps({"MCP_TOKEN": s.word(32)}))
    variables = [{"name": "TOKEN", "value": s.seal(s.word(40)), "scope": "global"}]
    return (s.uuid(), f"mcp_{s.word(8)}", "http", "http://127.0.0.1:9/mcp", json.dumps(credentials),
            json.dumps(headers), json.dumps(env), json.dumps(variables), AT, AT)


def users(s):
    tokens = json.dumps({"type": "oauth2", "access_token": s.word(200), "refresh_token": s.word(80)})
    return s.uuid(), f"user-{s.word(12)}", s.uuid(), s.seal(tokens), AT, AT


def assertions(s):
    return f"user-{s.word(16)}", s.seal(json.dumps({"id_token": s.word(700), "refresh_token": s.word(80)})), AT, AT


def sso(s):
    names = ("google_client_secret", "microsoft_client_secret", "generic_client_secret")
    return "sso_config", json.dumps({name: s.seal(s.word(40)) for name in names}), AT, AT


def variables(s):
    return "environment_variables", json.dumps({name: s.seal(s.word(32)) for name in ("SMTP_PASSWORD", "SLACK_URL")})


STAMPS = ["created_at", "updated_at"]
SIGNED = ["created_at", "created_by", "updated_at", "updated_by"]
TABLES = {
    "models": (models, "LiteLLM_ProxyModelTable", ["model_id", "model_name", "litellm_params", "model_info", *SIGNED]),
    "credentials": (credentials, "LiteLLM_CredentialsTable",
                    ["credential_id", "credential_name", "credential_values", "credential_info", *SIGNED]),
    "keys": (keys, "LiteLLM_VerificationToken", ["token", "key_name", "key_alias", "models", "metadata", *STAMPS]),
    "teams": (teams, "LiteLLM_TeamTable",
              ["team_id", "team_alias", "admins", "members", "models", "metadata", *STAMPS]),
    "mcp": (mcp, "LiteLLM_MCPServerTable", ["server_id", "server_name", "transport", "url", "credentials",
                                           "static_headers", "env", "env_vars", *STAMPS]),
    "users": (users, "LiteLLM_MCPUserCredentials", ["id", "user_id", "server_id", "credential_b64", *STAMPS]),
    "assertions": (assertions, "LiteLLM_SSOIdentityAssertion", ["user_id", "assertion_b64", *STAMPS]),
    "sso": (sso, "LiteLLM_SSOConfig", ["id", "sso_settings", *STAMPS]),
    "variables": (variables, "LiteLLM_Config", ["param_name", "param_value"]),
}

# Rows that hold no sealed value; made by the server, and shuffled among nothing: a scan has to pass over them all.
PLAIN_KEYS = """
  insert into "LiteLLM_VerificationToken" (token, key_name, key_alias, models, metadata, user_id, created_at, updated_at)
  select encode(sha256(('key ' || n)::bytea), 'hex'), 'sk-...' || n, 'plain-' || n, '{gpt-5}',
    '{"owner": "someone", "service_account_id": null, "tags": ["a", "b"]}', 'user-' || n %% 1000, %(at)s, %(at)s
  from generate_series(1, %(rows)s) as n"""
SPEND_LOGS = """
  insert into "LiteLLM_SpendLogs" (request_id, call_type, api_key, spend, total_tokens, "startTime", "endTime", model,
    "user", metadata, request_tags, messages, response, created_at, updated_at)
  select 'chatcmpl-' || md5('log ' || n), 'acompletion', encode(sha256(('key ' || n %% 1000)::bytea), 'hex'), 0.001, 500,
    %(at)s, %(at)s, 'gpt-5', 'user-' || n %% 1000,
    jsonb_build_object('user_api_key', encode(sha256(('key ' || n %% 1000)::bytea), 'hex'), 'status', 'success',
      'usage_object', jsonb_build_object('total_tokens', 500), 'additional_usage_values', '{}'::jsonb),
    '["prod"]', '{}', '{}', %(at)s, %(at)s
  from generate_series(1, %(rows)s) as n"""


def fill(connection, name, sealer, until):
    make, table, columns = TABLES[name]
    rows = 0
    listed = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor() as cursor, cursor.copy(f'copy "{table}" ({listed}) from stdin') as copy:
        while sealer.count < until:
            sealer.next_row()
            copy.write_row(make(sealer))
            rows += 1
    return rows


def main():
    wanted = json.load(sys.stdin)
    sealer = Sealer(wanted["key"], wanted["seed"])
    rows = 0
    with psycopg.connect(wanted["url"]) as connection:
        rows += fill(connection, "sso", sealer, 1)
        rows += fill(connection, "variables", sealer, sealer.count + 1)
        for name, share in SHARES.items():
            rows += fill(connection, name, sealer, sealer.count + int(wanted["values"] * share))
        rows += fill(connection, "assertions", sealer, max(wanted["values"], sealer.count + 1))
        connection.execute(PLAIN_KEYS, {"rows": wanted["plainKeys"], "at": AT})
        connection.execute(SPEND_LOGS, {"rows": wanted["spendLogs"], "at": AT})
    with psycopg.connect(wanted["url"], autocommit=True) as connection:
        connection.execute("vacuum (freeze, analyze)")
    print(json.dumps({"values": sealer.count, "rows": rows}), file=answers, flush=True)


main()
