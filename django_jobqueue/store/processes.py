"""The processes: what each tells of itself, in Sidekiq's layout, for people to look at."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link

#: Seconds for which the record of a process outlives its last beat.
RECORD_TTL = 60


class Processes:
    """Write a process's record; take the signals that were sent to it."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def record(
        self, identity: str, facts: Mapping[str, str | int | float], work: Mapping[str, str]
    ) -> None:
        """
        Write what a process is and runs, in one round trip.

        ``facts`` are the fields of its hash, ``work`` maps threads to JSON.
        """
        keys = self._keys
        flat = [part for pair in facts.items() for part in pair]
        running = [part for pair in work.items() for part in pair]
        self._link.pipeline(
            [
                ("SADD", keys.processes, identity),
                ("HSET", keys.process(identity), *flat),
                ("EXPIRE", keys.process(identity), RECORD_TTL),
                ("DEL", keys.work(identity)),
                *([("HSET", keys.work(identity), *running)] if running else []),
                ("EXPIRE", keys.work(identity), RECORD_TTL),
            ]
        )

    def take_signal(self, identity: str) -> str | None:
        """
        Return the name of a signal that was sent to a process, if any.

        A command of its own: a record that Redis refuses must not cost an order.
        """
        signal: bytes | None = self._link.call("RPOP", self._keys.signals(identity))
        return None if signal is None else signal.decode(errors="replace")

    def forget(self, identity: str) -> None:
        """Take a process that is known to be dead from the list, with its record."""
        keys = self._keys
        with contextlib.suppress(StoreRefused):  # the list has a wrong type; it is for people
            self._link.pipeline(
                [
                    ("SREM", keys.processes, identity),
                    ("DEL", keys.process(identity), keys.work(identity), keys.signals(identity)),
                ]
            )

    def forget_lost(self) -> int:
        """Take processes whose record has run out from the list; return how many."""
        names: list[bytes] = list(self._link.call("SMEMBERS", self._keys.processes))
        if not names:
            return 0
        alive = self._link.pipeline(
            [("EXISTS", self._keys.process(name.decode(errors="replace"))) for name in names]
        )
        lost = [name for name, there in zip(names, alive, strict=True) if not there]
        if lost:
            self._link.call("SREM", self._keys.processes, *lost)
        return len(lost)

    def identities(self) -> list[str]:
        """Return the identities of all processes on the list, sorted."""
        return sorted(
            name.decode(errors="replace")
            for name in self._link.call("SMEMBERS", self._keys.processes)
        )
