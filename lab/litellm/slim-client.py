"""Drops type hints from the generated Prisma client: `python slim-client.py`, with the Python of LiteLLM's environment.

Prisma's generator writes one class for every pair of models, 24,000 of them for LiteLLM, that say which relations a query
may include. Nothing looks at them while a program runs, but each start of LiteLLM pays three seconds for making them.
"""

import importlib.util
import pathlib
import re

PAIR = re.compile(r"^class (\w+(?:Include|Args)From\w+)\(TypedDict, total=False\):\n(?:[ \t].*\n|\n)+", re.MULTILINE)

path = pathlib.Path(importlib.util.find_spec("prisma").origin).with_name("types.py")
text, dropped = PAIR.subn(r"\1 = dict\n", path.read_text(encoding="utf-8"))
if dropped < 1000:
    raise SystemExit(f"{path}: found {dropped} classes for pairs of models, expected thousands; has the generator changed?")
path.write_text(text, encoding="utf-8")
