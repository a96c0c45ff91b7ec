"""The mirror of the kill switches: where every process reads them, within a second of a change."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link

#: The field of the hash that is no flag.
VERSION = "version"


class Replaced(Enum):
    """What became of an attempt to write the mirror."""

    #: It has the new states.
    DONE = 1
    #: It had them already.
    SAME = 0
    #: Somebody else has written it since its version was read.
    LOST = -1


class SwitchMirror:
    """Read the states of the switches, and write those that the database has."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def read(self) -> dict[str, str] | None:
        """Return the state of every flag that is not off; None where there is no mirror."""
        found = self._link.call("HGETALL", self._keys.switches)
        if not found:
            return None
        states = {
            flag.decode(errors="replace"): state.decode(errors="replace")
            for flag, state in found.items()
        }
        states.pop(VERSION, None)
        return states

    def version(self) -> str:
        """Return what ``replace`` compares; an empty text where there is no mirror."""
        found: bytes | None = self._link.call("HGET", self._keys.switches, VERSION)
        return "" if found is None else found.decode(errors="replace")

    def replace(self, version: str, states: Mapping[str, str]) -> Replaced:
        """
        Write the states of all flags that are not off.

        Only if the version is still the one that was read before the states were.
        """
        pairs = [part for pair in states.items() for part in pair]
        return Replaced(
            self._link.script("switches", [self._keys.switches], [version, *pairs]),
        )
