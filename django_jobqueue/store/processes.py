"""The processes: what each tells of itself, in Sidekiq's layout, for people to look at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Command, Link, scored

#: Seconds for which the record of a process outlives its last beat.
RECORD_TTL = 60

#: Seconds for which a signal waits for its process, as in Sidekiq.
SIGNAL_TTL = 60

#: Processes, and leases, that are read in one round trip.
PAGE = 100

#: The fields of a record.
FIELDS = ("info", "concurrency", "busy", "beat", "rtt_us", "quiet", "rss")


@dataclass(frozen=True, slots=True)
class Record:
    """
    What a process tells of itself: the fields of its hash as they stand.

    ``lease`` is in seconds from now on the clock of Redis, below 0 when it is over;
    None for a process that has none, as Sidekiq's.
    """

    identity: str
    fields: dict[str, bytes]
    lease: float | None


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

    def signal(self, identity: str, name: str) -> bool:
        """
        Send a signal to a process: ``TSTP``, ``TERM`` or ``TTIN``. It takes one with each beat.

        Returns whether the process has a record. One that nobody takes is gone
        after a minute.
        """
        keys = self._keys
        there, _, _ = self._link.pipeline(
            [
                ("EXISTS", keys.process(identity)),
                ("LPUSH", keys.signals(identity), name),
                ("EXPIRE", keys.signals(identity), SIGNAL_TTL),
            ],
            atomic=True,
        )
        return bool(there)

    def records(self) -> Iterator[Record]:
        """Yield the records of all processes that have one, by identity, read by the hundred."""
        identities = self.identities()
        for at in range(0, len(identities), PAGE):
            yield from self.read(identities[at : at + PAGE])

    def read(self, identities: list[str]) -> list[Record]:
        """Return the records of these processes, of those that have one, in one round trip."""
        commands: list[Command] = [("TIME",)]
        for identity in identities:
            commands += record_commands(self._keys, identity)
        time, *replies = self._link.attempt(commands)
        # A key of a wrong type is no record, and hides no other.
        it = iter([None if isinstance(reply, StoreRefused) else reply for reply in replies])
        found = [
            record_of(identity, values, end, time)
            for identity, values, end in zip(identities, it, it, strict=True)
        ]
        return [record for record in found if record is not None]

    def work(self) -> Iterator[tuple[str, str, bytes]]:
        """Yield what all processes run: identity, thread, JSON. Read by the hundred."""
        identities = self.identities()
        for at in range(0, len(identities), PAGE):
            page = identities[at : at + PAGE]
            replies = self._link.attempt([("HGETALL", self._keys.work(name)) for name in page])
            for identity, running in zip(page, replies, strict=True):
                if isinstance(running, StoreRefused):
                    continue
                for thread, facts in running.items():
                    yield identity, thread.decode(errors="replace"), facts

    def busy(self) -> int:
        """Return how many jobs all processes run, as each said with its last beat."""
        identities = self.identities()
        counts = self._link.pipeline(
            [("HGET", self._keys.process(name), "busy") for name in identities]
        )
        return sum(int(count) for count in counts if count is not None and count.isdigit())

    def leases(self) -> dict[str, float]:
        """Return all leases by identity, in seconds from now; below 0 they are over."""
        found: dict[str, float] = {}
        start = 0
        while True:
            (seconds, micros), flat = self._link.pipeline(
                [
                    ("TIME",),
                    ("ZRANGE", self._keys.leases, start, start + PAGE - 1, "WITHSCORES"),
                ]
            )
            now = int(seconds) + int(micros) / 1e6
            page = scored(flat)
            found |= {name.decode(errors="replace"): end / 1000 - now for name, end in page}
            if len(page) < PAGE:
                return found
            start += PAGE

    def size(self) -> int:
        """Return how many processes are on the list, lost ones included."""
        count: int = self._link.call("SCARD", self._keys.processes)
        return count

    def leader(self) -> str | None:
        """Return the identity of the process that promotes due jobs at the moment, if any."""
        found: bytes | None = self._link.call("GET", self._keys.leader)
        return None if found is None else found.decode(errors="replace")

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


def record_commands(keys: Keys, identity: str) -> list[Command]:
    """Return the two commands that read the record of a process and its lease."""
    return [("HMGET", keys.process(identity), *FIELDS), ("ZSCORE", keys.leases, identity)]


def record_of(
    identity: str, values: Sequence[bytes | None] | None, end: bytes | None, time: Sequence[bytes]
) -> Record | None:
    """Return a record out of their replies, and that of TIME; None where there is none."""
    seconds, micros = time
    now = int(seconds) + int(micros) / 1e6
    pairs = zip(FIELDS, values or (None,) * len(FIELDS), strict=True)
    fields = {name: value for name, value in pairs if value is not None}
    if "info" not in fields:
        return None
    return Record(identity, fields, None if end is None else float(end) / 1000 - now)
