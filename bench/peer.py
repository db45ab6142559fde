"""LiteLLM's own re-encryption, timed: `reencrypt_stored_values` of litellm/proxy/db/master_key_migration.py, as it is.

Reads {"url", "from", "to"} as JSON on stdin, writes {"values", "seconds", "cpuSeconds", "restingMiB", "peakMiB",
"beganAt" (ms since 1970)} on stdout.
LiteLLM reaches its database through Prisma's raw queries; here by asyncpg, the fastest client of Python's, with an
adapter that adds nothing but the shape of the answers. Imports and the connection are not in the times.
"""

import asyncio
import json
import os
import resource
import sys
import time

answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # what LiteLLM prints while it is imported must not look like an answer

import asyncpg  # noqa: E402
import litellm.proxy.proxy_server  # noqa: E402, F401  # imported by the first value otherwise
import uvloop  # noqa: E402
from litellm.proxy.db.master_key_migration import reencrypt_stored_values  # noqa: E402


class RawQueries:
    def __init__(self, connection):
        self.connection = connection

    async def query_raw(self, query, *args):
        return await self.connection.fetch(query, *args)

    async def execute_raw(self, query, *args):
        return int((await self.connection.execute(query, *args)).rpartition(" ")[2])


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def memory(name):
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(f"{name}:"))


async def main():
    wanted = json.load(sys.stdin)
    connection = await asyncpg.connect(wanted["url"])
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=json.loads)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as refs:
        refs.write("5")  # the peak counts from here
    began_at = time.time() * 1000
    resting, cpu_before, since = memory("VmRSS"), cpu(), time.perf_counter()
    values = await reencrypt_stored_values(RawQueries(connection), from_key=wanted["from"], to_key=wanted["to"])
    seconds, cpu_seconds = time.perf_counter() - since, cpu() - cpu_before
    report = {"values": values, "seconds": seconds, "cpuSeconds": cpu_seconds}
    report |= {"restingMiB": resting, "peakMiB": memory("VmHWM"), "beganAt": began_at}
    print(json.dumps(report), file=answers, flush=True)
    await connection.close()


asyncio.run(main(), loop_factory=uvloop.new_event_loop) if sys.version_info >= (3, 12) else uvloop.run(main())
