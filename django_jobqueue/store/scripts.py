"""Load the Lua verbs once, and know the digest that each is called by."""

from __future__ import annotations

import hashlib
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
            text = entry.read_text(encoding="utf-8")
            if not flags and text.startswith("#!"):
                text = text.partition("\n")[2]
            name = entry.name.removesuffix(".lua")
            scripts[name] = _script(name, text)
    return scripts
