"""
One fault in one script.

A mutant is made by replacing an exact piece of a script's text. When a script
is rewritten and the piece is gone, making the mutant fails, so that no mutant
silently turns into the original.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from django_jobqueue.store import scripts
from django_jobqueue.store.scripts import Script
from django_jobqueue.store.store import Store


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault in the script of a verb: each old text, found exactly once, becomes the new."""

    name: str
    verb: str
    changes: tuple[tuple[str, str], ...]

    def verbs(self, *, flags: bool = True) -> Mapping[str, Script]:
        """Return all scripts, this one with its fault."""
        loaded = scripts.load(flags=flags)
        text = loaded[self.verb].text
        for old, new in self.changes:
            found = text.count(old)
            assert found == 1, f"{self.name}: found {found} times in {self.verb}.lua: {old!r}"
            text = text.replace(old, new)
        digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        return {**loaded, self.verb: Script(self.verb, text, digest)}

    def infect(self, store: Store) -> Store:
        """Let a store run the script with the fault."""
        store._link._verbs = self.verbs
        return store


def mutant(name: str, verb: str, *changes: tuple[str, str]) -> Mutant:
    """Return a mutant of a verb's script."""
    return Mutant(name, verb, changes)
