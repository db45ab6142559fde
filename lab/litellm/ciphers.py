"""LiteLLM's own encryption functions, a JSON request a line on stdin, a JSON answer a line on stdout.

{"do": "seal", "format": "legacy" | "v2" | "v3", "key": KEY, "values": [...]}   -> {"values": [TEXT, ...]}
{"do": "open", "key": KEY, "values": [...]}                                     -> {"values": [TEXT or null, ...]}
"""

import base64
import json
import os
import sys

answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # what LiteLLM prints while it is imported must not look like an answer

from litellm.proxy.common_utils import encrypt_decrypt_utils as litellm  # noqa: E402


def seal(value, key, form):
    if form == "legacy":
        return base64.urlsafe_b64encode(litellm.encrypt_value(value=value, signing_key=key)).decode("utf-8")
    if form == "v2":
        return litellm._encrypt_aes_gcm(value=value, signing_key=key)
    raise ValueError(f"this LiteLLM does not write {form}")


def run(request):
    key, values = request["key"], request["values"]
    if request["do"] == "seal":
        return [seal(value, key, request["format"]) for value in values]
    return [litellm.decrypt_if_encrypted_with(value, key) for value in values]


print('{"ready": true}', file=answers, flush=True)
for line in sys.stdin:
    try:
        answer = {"values": run(json.loads(line))}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=answers, flush=True)
