"""The counters and sizes: how much was done and how much waits, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Command, Link
from django_jobqueue.store.metrics import MINUTE, Sums, sums_key, total
from django_jobqueue.store.processes import Record, record_commands, record_of
from django_jobqueue.store.tally import by_class, minute_of

#: The sets that jobs wait in, or lie in for good.
SETS = ("schedule", "retry", "dead")


@dataclass(slots=True)
class Overview:
    """
    Everything at one moment.

    ``counters`` as ``Stats.counters``; ``sizes`` of ``schedule``, ``retry`` and
    ``dead``; ``queues`` by name their sizes, and ``heads`` the payload that is the
    next to run, of those that are not empty; ``held`` by class. ``processes`` has
    those that have a record. ``days`` has processed and failed of each day, ``minutes`` what
    all classes did in each minute by its start, ``stopped`` what kill switches stopped of each
    class in these minutes. ``broken`` are the keys that have a wrong type: they count as empty.
    """

    counters: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    paused: frozenset[str] = frozenset()
    queues: dict[str, int] = field(default_factory=dict)
    heads: dict[str, bytes] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    processes: dict[str, Record] = field(default_factory=dict)
    days: dict[str, tuple[int, int]] = field(default_factory=dict)
    minutes: dict[float, Sums] = field(default_factory=dict)
    stopped: dict[str, Counter[str]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)


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

    def overview(self, days: Sequence[str] = (), minutes: Sequence[float] = ()) -> Overview:
        """
        Return everything at once, in one round trip.

        Also of some UTC days (``YYYY-MM-DD``), and of minutes by their starts in epoch
        seconds. The first look, and one that meets a new queue, process or held class,
        takes a second trip for what is new.
        """
        found, known = Overview(), self._names
        fixed = [
            *self._of_counters(), *self._of_sets(), ("TIME",),
            *self._of_days(days), *self._of_minutes(minutes),
        ]  # fmt: skip
        replies = iter(self._ask([*fixed, *self._of_names(known)], found.broken))
        found.counters = _counters(*(next(replies) for _ in range(3)))
        found.sizes = {name: next(replies) for name in SETS}
        found.paused = _texts(next(replies))
        there = _Names(*(_texts(next(replies)) for _ in _Names._fields))
        time = next(replies)
        if days:
            found.days = _by_day(days, next(replies))
        found.minutes = {start: total(next(replies)) for start in minutes}
        for _ in minutes:
            for name, counts in by_class(next(replies)).items():
                found.stopped.setdefault(name, Counter()).update(counts)
        self._fill(found, known, there, time, replies)
        new = _Names(*(now - before for now, before in zip(there, known, strict=True)))
        if any(new):
            replies = iter(self._ask(self._of_names(new), found.broken))
            self._fill(found, new, there, time, replies)
        self._names = there
        return found

    def days(self, days: Sequence[str]) -> list[tuple[int, int]]:
        """Return processed and failed of some UTC days (``YYYY-MM-DD``), in one round trip."""
        if not days:
            return []
        return list(_by_day(days, self._link.call(*self._of_days(days)[0])).values())

    def reset(self, names: Iterable[str]) -> None:
        """Let the totals of ``processed`` or ``failed`` begin at 0 again; the days stay."""
        keys = {"processed": self._keys.processed, "failed": self._keys.failed}
        self._link.pipeline([("SET", keys[name], 0) for name in names])

    def _of_counters(self) -> list[Command]:
        keys = self._keys
        return [("GET", keys.processed), ("GET", keys.failed), ("HGETALL", keys.counters)]

    def _of_sets(self) -> list[Command]:
        keys = self._keys
        return [
            *(("ZCARD", keys.sorted_set(name)) for name in SETS),
            ("SMEMBERS", keys.paused),
            ("SMEMBERS", keys.queues),
            ("SMEMBERS", keys.processes),
            ("SMEMBERS", keys.held_classes),
        ]

    def _of_days(self, days: Sequence[str]) -> list[Command]:
        keys = self._keys
        names = (*map(keys.processed_on, days), *map(keys.failed_on, days))
        return [("MGET", *names)] if days else []

    def _of_minutes(self, minutes: Sequence[float]) -> list[Command]:
        keys = self._keys
        return [
            *(("HGETALL", sums_key(keys, start, MINUTE)) for start in minutes),
            *(("HGETALL", keys.tally(minute_of(start))) for start in minutes),
        ]

    def _of_names(self, names: _Names) -> list[Command]:
        keys = self._keys
        commands: list[Command] = []
        for queue in sorted(names.queues):
            commands += (("LLEN", keys.queue(queue)), ("LINDEX", keys.queue(queue), -1))
        for identity in sorted(names.processes):
            commands += record_commands(keys, identity)
        commands += [("ZCARD", keys.held(name)) for name in sorted(names.held)]
        return commands

    def _ask(self, commands: Sequence[Command], broken: set[str]) -> list[Any]:
        """Return replies, those of an empty key in place of what a wrong type refuses."""
        replies = self._link.attempt(commands)
        for at, (command, reply) in enumerate(zip(commands, replies, strict=True)):
            if isinstance(reply, StoreRefused):
                broken.add(str(command[1])[len(self._keys.prefix) :])
                empty = _EMPTY.get(command[0])
                replies[at] = None if empty is None else empty()
        return replies

    def _fill(
        self,
        found: Overview,
        names: _Names,
        there: _Names,
        time: Sequence[bytes],
        replies: Iterator[Any],
    ) -> None:
        """Take in the replies of what has these names, where it is still there."""
        for queue in sorted(names.queues):
            size, head = next(replies), next(replies)
            if queue in there.queues:
                found.queues[queue] = size
                if head is not None:
                    found.heads[queue] = head
        for identity in sorted(names.processes):
            record = record_of(identity, next(replies), next(replies), time)
            if identity in there.processes and record is not None:
                found.processes[identity] = record
        for job_class in sorted(names.held):
            size = next(replies)
            if job_class in there.held and size:
                found.held[job_class] = size


#: What an empty key answers to a command, where that is not None.
_EMPTY: Mapping[Any, Callable[[], Any]] = {
    "LLEN": int, "ZCARD": int, "SMEMBERS": list, "HGETALL": dict,
}  # fmt: skip


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


def _by_day(days: Sequence[str], counts: Sequence[bytes | None]) -> dict[str, tuple[int, int]]:
    numbers = [_number(count) for count in counts]
    return dict(
        zip(days, zip(numbers[: len(days)], numbers[len(days) :], strict=True), strict=True)
    )
