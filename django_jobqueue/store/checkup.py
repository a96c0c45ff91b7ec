"""Look for what should not be: keys of a wrong type, claims and queues that nobody knows of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django_jobqueue import clock
from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.keys import Field, Keys
from django_jobqueue.store.link import Command, Link, scored

#: Keys that one step of a sweep looks at, and names of one kind whose types are looked at.
STEP = 1000
MOST = 1000

#: The kinds of keys, as Redis calls them, with what asks for the size of each.
_SIZES = {"list": "LLEN", "zset": "ZCARD", "hash": "HLEN", "set": "SCARD", "string": "GET"}


@dataclass(slots=True)
class Sweep:
    """
    What a look through the names of all keys found.

    ``unlisted`` has the jobs of queues that do not stand in the list of queues, ``orphans``
    the claims of processes that have no lease, both by name. ``is_complete`` tells whether all
    names were looked at.
    """

    unlisted: dict[str, int] = field(default_factory=dict)
    orphans: dict[str, int] = field(default_factory=dict)
    is_complete: bool = False


class Checkup:
    """Ask what no other drawer asks, because nobody needs it for the work. Changes nothing."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def time(self) -> float:
        """Return the time by the clock of Redis, in epoch seconds."""
        seconds, micros = self._link.call("TIME")
        return int(seconds) + int(micros) / 1e6

    def overdue(self) -> dict[str, float]:
        """
        Return for how many seconds the first entry of ``schedule`` and of ``retry`` is due.

        By the clock of Redis; below 0 it lies ahead. An empty set is left out.
        """
        sets = ("schedule", "retry")
        (seconds, micros), *found = self._link.attempt(
            [
                ("TIME",),
                *(("ZRANGE", self._keys.sorted_set(name), 0, 0, "WITHSCORES") for name in sets),
            ]
        )
        now = int(seconds) + int(micros) / 1e6
        return {
            name: now - scored(reply)[0][1]
            for name, reply in zip(sets, found, strict=True)
            if reply and not isinstance(reply, StoreRefused)
        }

    def claims(self, identities: Sequence[str]) -> dict[str, int]:
        """Return how many claims these processes hold, of those that hold any."""
        keys = [self._keys.claims(identity) for identity in identities]
        commands: list[Command] = []
        for key in keys:
            commands += (("HLEN", key), ("HEXISTS", key, Field.SUSPECT))
        replies = self._link.attempt(commands)
        counts = zip(identities, replies[::2], replies[1::2], strict=True)
        return {
            identity: size - marked
            for identity, size, marked in counts
            if not isinstance(size, StoreRefused) and size > marked
        }

    def misfits(self) -> dict[str, str]:
        """
        Return the keys that hold something else than they should, with what they should hold.

        Of those that there are once, and of the first 1,000 queues, held sets and processes.
        """
        keys = self._keys
        once = {
            keys.queues: "set", keys.paused: "set", keys.processes: "set", keys.held_classes: "set",
            keys.schedule: "zset", keys.retry: "zset", keys.dead: "zset", keys.leases: "zset",
            keys.counters: "hash", keys.switches: "hash", keys.releases: "hash",
            keys.processed: "string", keys.failed: "string", keys.leader: "string",
            keys.epoch: "string",
        }  # fmt: skip
        found = self._of_wrong_type(once)
        queues, held, identities = (
            [] if key in found else self._members(key)
            for key in (keys.queues, keys.held_classes, keys.processes)
        )
        many = {keys.queue(name): "list" for name in queues}
        many |= {keys.held(name): "zset" for name in held}
        for identity in identities:
            many |= {
                keys.process(identity): "hash",
                keys.work(identity): "hash",
                keys.signals(identity): "list",
                keys.claims(identity): "hash",
            }
        return found | self._of_wrong_type(many)

    def sweep(self, budget: float) -> Sweep:
        """
        Look through the names of all keys, for ``budget`` seconds or one step at least.

        Of the whole database of the server: there is no list of our own.
        """
        patterns = (self._keys.all_queues, self._keys.all_claims)
        found = Sweep()
        cursors: list[int | None] = [0, 0]
        began = clock.monotonic()
        while any(cursor is not None for cursor in cursors):
            going = [at for at, cursor in enumerate(cursors) if cursor is not None]
            replies = self._link.pipeline(
                [("SCAN", cursors[at] or 0, "MATCH", patterns[at], "COUNT", STEP) for at in going]
            )
            for at, (cursor, names) in zip(going, replies, strict=True):
                cursors[at] = int(cursor) or None
                if names and at == 0:
                    found.unlisted |= self._unlisted(names)
                elif names:
                    found.orphans |= self._orphans(list(self._keys.claimants(names)))
            if clock.monotonic() - began >= budget:
                break
        found.is_complete = all(cursor is None for cursor in cursors)
        return found

    def _unlisted(self, names: list[bytes]) -> dict[str, int]:
        queues = [self._keys.queue_of(name) for name in names]
        commands: list[Command] = [("SMISMEMBER", self._keys.queues, *queues)]
        listed, *sizes = self._link.attempt(
            [*commands, *(("LLEN", self._keys.queue(name)) for name in queues)]
        )
        if isinstance(listed, StoreRefused):
            return {}  # told as a key of a wrong type
        return {
            name: size
            for name, is_listed, size in zip(queues, listed, sizes, strict=True)
            if not is_listed and not isinstance(size, StoreRefused)
        }

    def _orphans(self, identities: list[str]) -> dict[str, int]:
        # Looked at before and after: a process that leaves meanwhile has claims no more, and
        # one that comes has none yet.
        before = self.claims(identities)
        leases = self._link.attempt([("ZSCORE", self._keys.leases, each) for each in before])
        loose = [name for name, end in zip(before, leases, strict=True) if end is None]
        return self.claims(loose)

    def _members(self, key: str) -> list[str]:
        return sorted(name.decode(errors="replace") for name in self._link.call("SMEMBERS", key))[
            :MOST
        ]

    def _of_wrong_type(self, wanted: dict[str, str]) -> dict[str, str]:
        replies = self._link.attempt([(_SIZES[kind], key) for key, kind in wanted.items()])
        return {
            key: kind
            for (key, kind), reply in zip(wanted.items(), replies, strict=True)
            if isinstance(reply, StoreRefused)
        }
