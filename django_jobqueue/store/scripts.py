"""Load the Lua verbs once, and know the digest that each is called by."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Script:
    """The text of one verb and its SHA-1 digest, by which EVALSHA calls it."""

    name: str
    text: str
    digest: str


def _script(name: str, text: str) -> Script:
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _assembled(text: str) -> str:
    """Return a script with the files of ``lua/lib`` in the place of the lines that name them."""

    def included(line: re.Match[str]) -> str:
        path = resources.files(__package__).joinpath("lua", "lib", f"{line[1]}.lua")
        return path.read_text(encoding="utf-8")

    return re.sub(r"^--@include (\w+)\n", included, text, flags=re.MULTILINE)


@cache
def load(*, flags: bool = True) -> dict[str, Script]:
    """
    Return all verbs by name.

    With ``flags=False`` the ``#!lua`` line, which Redis knows from 7.0 on, is
    left out.
    """
    scripts = {}
    for entry in resources.files(__package__).joinpath("lua").iterdir():
        if entry.name.endswith(".lua"):
            text = _assembled(entry.read_text(encoding="utf-8"))
            if not flags and text.startswith("#!"):
                text = text.partition("\n")[2]
            name = entry.name.removesuffix(".lua")
            scripts[name] = _script(name, text)
    return scripts
