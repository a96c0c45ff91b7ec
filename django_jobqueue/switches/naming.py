"""Which flags stop which job: names made of a class's name, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: What the name of every flag begins with that is a kill switch.
PREFIX = "disable_"

#: Characters that waffle keeps of a flag's name.
MAX_LENGTH = 100

_ACRONYM = re.compile(r"([A-Z\d]+)([A-Z][a-z])")
_WORD = re.compile(r"([a-z\d])([A-Z])")


@dataclass(frozen=True, slots=True)
class Declared:
    """The flags of one job class, its own first, and whether it is refused where none is known."""

    names: tuple[str, ...]
    fails_closed: bool


_declared: dict[str, Declared] = {}
_failing_closed: set[str] = set()


def underscore(qualname: str) -> str:
    """
    Return a class's name as Rails writes it: ``HTTPServerJob`` is ``http_server_job``.

    The classes around a nested one belong to it, the functions around it do not.
    """
    name = qualname.rpartition("<locals>.")[2].replace(".", "_")
    return _WORD.sub(r"\1_\2", _ACRONYM.sub(r"\1_\2", name)).lower()


def flag_names(cls: type) -> tuple[str, ...]:
    """
    Return the names of the flags that stop a job class: its own, then those it had before.

    ``kill_switch`` and ``kill_switch_aliases`` are read from the class itself: what
    a parent is called is no name of its child.
    """
    own = vars(cls).get("kill_switch") or underscore(cls.__qualname__)
    aliases = vars(cls).get("kill_switch_aliases", ())
    if not isinstance(aliases, (list, tuple)):
        aliases = ()  # a system check tells
    return tuple(dict.fromkeys(f"{PREFIX}{name}" for name in (own, *aliases)))


def declare(wire_name: str, names: Sequence[str], *, fail: str) -> None:
    """Remember the flags of a job class. ``fail`` is its ``kill_switch_fail``."""
    _declared[wire_name] = Declared(tuple(names), fail == "closed")
    if fail == "closed":
        _failing_closed.add(wire_name)
    else:
        _failing_closed.discard(wire_name)


def declaration(wire_name: str) -> Declared | None:
    """Return what was declared of a job class; None for one that is not known here."""
    return _declared.get(wire_name)


def any_fails_closed() -> bool:
    """Return whether some job class is refused where no state is known."""
    return bool(_failing_closed)


def declared() -> list[str]:
    """Return the wire names of all job classes that are known here."""
    return list(_declared)
