"""Answers each JSON line {"text": latin1} with what python-dotenv reads: {name: value}, latin1 again."""

import io
import json
import logging
import sys

from dotenv import dotenv_values

# Its warnings about lines that it cannot parse are expected here.
logging.disable(logging.CRITICAL)

for line in sys.stdin:
    # Newlines are translated as they are when python-dotenv opens a file by itself.
    stream = io.TextIOWrapper(io.BytesIO(json.loads(line)["text"].encode("latin1")), encoding="utf-8")
    values = dotenv_values(stream=stream, interpolate=False)
    print(json.dumps({k: v.encode().decode("latin1") for k, v in values.items() if v is not None}), flush=True)
