"""The counters and sizes: how much was done and how much waits, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Command, Link


@dataclass(slots=True)
class Overview:
    """
    Everything at one moment.

    ``counters`` as ``Stats.counters``; ``sizes`` of ``schedule``, ``retry`` and
    ``dead``; ``queues`` by name their sizes, and ``heads`` the payload that is the
    next to run, of those that are not empty; ``held`` by class. ``processes`` has of
    each that has a record its ``info`` (JSON) and how many jobs it runs.
    """

    counters: dict[str, int]
    sizes: dict[str, int]
    paused: frozenset[str]
    queues: dict[str, int] = field(default_factory=dict)
    heads: dict[str, bytes] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    processes: dict[str, tuple[bytes, int]] = field(default_factory=dict)


class _Names(NamedTuple):
    """The queues, processes and classes with held jobs that there are, by their names."""

    queues: frozenset[str] = frozenset()
    processes: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()


class Stats:
    """Read the totals, and how much is where."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        #: What there was at the last look, so that the next one need not ask first.
        self._names = _Names()

    def counters(self) -> dict[str, int]:
        """
        Return all totals since the data began.

        ``processed`` counts every finished attempt and ``failed`` those that
        raised, as Sidekiq does; beside them ``recovered``, ``fenced``, ``back``,
        ``snooze``, ``skipped``, ``expired``, ``discarded`` and ``forget``, each
        present once it has happened.
        """
        return _counters(*self._link.pipeline(self._of_counters()))

    def overview(self) -> Overview:
        """
        Return everything at once, in one round trip.

        The first look, and one that meets a new queue, process or held class,
        takes a second trip for what is new.
        """
        keys, known = self._keys, self._names
        sets = ("schedule", "retry", "dead")
        fixed: list[Command] = [
            *self._of_counters(),
            *(("ZCARD", keys.sorted_set(name)) for name in sets),
            ("SMEMBERS", keys.paused),
            ("SMEMBERS", keys.queues),
            ("SMEMBERS", keys.processes),
            ("SMEMBERS", keys.held_classes),
        ]
        replies = self._link.pipeline([*fixed, *self._of_names(known)])
        counted, sizes = replies[:3], replies[3:6]
        paused, *members = map(_texts, replies[6:10])
        there = _Names(*members)
        found = Overview(_counters(*counted), dict(zip(sets, sizes, strict=True)), paused)
        self._fill(found, known, there, replies[10:])
        new = _Names(*(now - before for now, before in zip(there, known, strict=True)))
        if any(new):
            self._fill(found, new, there, self._link.pipeline(self._of_names(new)))
        self._names = there
        return found

    def days(self, days: Sequence[str]) -> list[tuple[int, int]]:
        """Return processed and failed of some UTC days (``YYYY-MM-DD``), in one round trip."""
        if not days:
            return []
        keys = self._keys
        counts = self._link.call("MGET", *map(keys.processed_on, days), *map(keys.failed_on, days))
        numbers = [_number(count) for count in counts]
        return list(zip(numbers[: len(days)], numbers[len(days) :], strict=True))

    def reset(self, names: Iterable[str]) -> None:
        """Let the totals of ``processed`` or ``failed`` begin at 0 again; the days stay."""
        keys = {"processed": self._keys.processed, "failed": self._keys.failed}
        self._link.pipeline([("SET", keys[name], 0) for name in names])

    def _of_counters(self) -> list[Command]:
        keys = self._keys
        return [("GET", keys.processed), ("GET", keys.failed), ("HGETALL", keys.counters)]

    def _of_names(self, names: _Names) -> list[Command]:
        keys = self._keys
        commands: list[Command] = []
        for queue in sorted(names.queues):
            commands += (("LLEN", keys.queue(queue)), ("LINDEX", keys.queue(queue), -1))
        commands += [
            ("HMGET", keys.process(name), "info", "busy") for name in sorted(names.processes)
        ]
        commands += [("ZCARD", keys.held(name)) for name in sorted(names.held)]
        return commands

    def _fill(self, found: Overview, names: _Names, there: _Names, replies: list[Any]) -> None:
        """Take in the replies of what has these names, where it is still there."""
        it = iter(replies)
        for queue in sorted(names.queues):
            size, head = next(it), next(it)
            if queue in there.queues:
                found.queues[queue] = size
                if head is not None:
                    found.heads[queue] = head
        for identity in sorted(names.processes):
            info, busy = next(it)
            if identity in there.processes and info is not None:
                found.processes[identity] = (info, _number(busy))
        for job_class in sorted(names.held):
            size = next(it)
            if job_class in there.held and size:
                found.held[job_class] = size


def _counters(processed: Any, failed: Any, ours: dict[bytes, bytes]) -> dict[str, int]:
    return {
        "processed": _number(processed),
        "failed": _number(failed),
        **{name.decode(errors="replace"): _number(value) for name, value in ours.items()},
    }


def _number(value: bytes | None) -> int:
    """Return a counter; 0 for what is none, for others write here too."""
    try:
        return int(value or 0)
    except ValueError:
        return 0


def _texts(members: Iterable[bytes]) -> frozenset[str]:
    return frozenset(member.decode(errors="replace") for member in members)
