"""Compares a re-encrypted database with the one it was copied from, value by value, with no code of either side's.

Reads {"before", "after", "from", "to"} (connection strings and keys) as JSON on stdin; writes {"values", "wrong": [...]}.

Every value that opened with `from` must open with `to` to the same plaintext at the same place (table, key, column, path)
and with the same marker; every other byte of every row, in every table, must be as it was. A value in a row that did not
change is not counted, so `values` is short of what the generator made when one was left behind.
"""

import base64
import hashlib
import json
import re
import sys

import nacl.exceptions
import nacl.secret
import psycopg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VALUE = re.compile(r"(litellm_enc::)?((?:v2:gcm:)?[A-Za-z0-9_-]{38,}={0,2})")
# LiteLLM's trigger counts updates of MCP servers here.
ROWS = "select to_jsonb(t)::text from {} as t where to_jsonb(t) ->> 'param_name' is distinct from 'mcp_catalog'"
KEYED = """
  select format('%I.%I', n.nspname, c.relname), (select array_agg(a.attname order by a.attname) from pg_index i
    join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey) where i.indrelid = c.oid and i.indisprimary)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and c.relkind = 'r' order by 1"""


class Opener:
    def __init__(self, key):
        digest = hashlib.sha256(key.encode()).digest()
        self.box, self.gcm = nacl.secret.SecretBox(digest), AESGCM(digest)

    def open(self, text):
        try:
            if text.startswith("v2:gcm:"):
                sealed = base64.urlsafe_b64decode(text[7:])
                return self.gcm.decrypt(sealed[:12], sealed[12:], None)
            return self.box.decrypt(base64.urlsafe_b64decode(text))
        except (ValueError, InvalidTag, nacl.exceptions.CryptoError):
            return None


def split(row, openers):
    """The row with its values cut out, and the values: which key opens each, its marker, its plaintext."""
    values = []

    def cut(match):
        for name, opener in openers.items():
            plaintext = opener.open(match[2])
            if plaintext is not None:
                values.append((name, match[1], plaintext))
                return "<sealed>"
        return match[0]

    return VALUE.sub(cut, row), values


def rows(connection, table, key):
    order = ", ".join(f't."{column}"::text collate "C"' for column in key)
    with connection.cursor(name="rows") as cursor:
        cursor.itersize = 2000
        yield from cursor.execute(f"{ROWS.format(table)} order by {order}")


def main():
    wanted = json.load(sys.stdin)
    openers = {"to": Opener(wanted["to"]), "from": Opener(wanted["from"])}
    counted, wrong = 0, []
    with psycopg.connect(wanted["before"]) as before, psycopg.connect(wanted["after"]) as after:
        for table, key in before.execute(KEYED).fetchall():
            if key is None:
                continue
            old, new = rows(before, table, key), rows(after, table, key)
            for (old_row,), (new_row,) in zip(old, new, strict=True):
                if old_row == new_row:
                    continue
                old_text, old_values = split(old_row, openers)
                new_text, new_values = split(new_row, openers)
                counted += len(old_values)
                expected = [("to", *rest) for _, *rest in old_values]
                if old_text != new_text or new_values != expected:
                    wrong.append(f"{table} {key}: {old_text[:80]}")
    print(json.dumps({"values": counted, "wrong": wrong[:20], "wrongRows": len(wrong)}))


main()
