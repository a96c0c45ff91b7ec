"""Everything that stands in Redis under a prefix, in one look: what a test compares and counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import redis

from django_jobqueue.store.keys import Field, Keys

#: Keys asked for in one SCAN.
_SCAN = 1000


@dataclass(slots=True)
class Contents:
    """
    What was read. Queues from left to right; ``claims`` without the marks of suspects.

    ``leases`` in ms, sets in seconds, as they stand; what is held of a class is
    the set ``held CLASS``. By digest: ``locks`` with the jids of their owners,
    ``ttls`` of the locks in seconds (-1: no end), ``tombstones`` with their
    deaths and their ends in ms, and ``reruns`` as they are written. ``counters``
    has the totals and our own, zeros left out. ``broken`` are keys of a wrong type.
    """

    queues: dict[str, list[bytes]] = field(default_factory=dict)
    sets: dict[str, dict[bytes, float]] = field(default_factory=dict)
    claims: dict[str, dict[str, bytes]] = field(default_factory=dict)
    suspects: dict[str, str] = field(default_factory=dict)
    leases: dict[str, float] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    registered: set[str] = field(default_factory=set)
    held_classes: set[str] = field(default_factory=set)
    locks: dict[str, str] = field(default_factory=dict)
    ttls: dict[str, float] = field(default_factory=dict, compare=False)
    tombstones: dict[str, tuple[int, float]] = field(default_factory=dict)
    reruns: dict[str, bytes] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, client: redis.Redis, prefix: str) -> Self:
        """Look at everything under the prefix."""
        names = _names(client, prefix)
        with client.pipeline(transaction=False) as types:
            for name in names:
                types.type(name)
            kinds = types.execute()
        with client.pipeline(transaction=True) as values:
            for name, kind in zip(names, kinds, strict=True):
                _ask(values, name, kind)
                values.pttl(name)
            found = iter(values.execute())
        contents = cls()
        for name, kind, value, ttl in zip(names, kinds, found, found, strict=True):
            contents._sort_in(Keys(prefix), name.decode(), kind, value, ttl)
        return contents

    def jobs(self) -> Iterator[tuple[str, bytes]]:
        """Yield where each payload stands, and the payload; one that stands twice comes twice."""
        for queue, payloads in self.queues.items():
            for payload in payloads:
                yield f"queue {queue}", payload
        for name, members in self.sets.items():
            for payload in members:
                yield name, payload
        for identity, claims in self.claims.items():
            for payload in claims.values():
                yield f"claims of {identity}", payload

    def payloads(self) -> list[bytes]:
        """Return the payloads of all jobs, wherever they stand, sorted."""
        return sorted(payload for _, payload in self.jobs())

    def _sort_in(self, keys: Keys, name: str, kind: bytes, value: Any, ttl: int) -> None:
        sets = {keys.schedule: "schedule", keys.retry: "retry", keys.dead: "dead"}
        counted = {keys.processed: "processed", keys.failed: "failed"}
        if name.startswith(keys.queue("")) and kind == b"list":
            self.queues[name.removeprefix(keys.queue(""))] = value
        elif name in sets and kind == b"zset":
            self.sets[sets[name]] = dict(value)
        elif name.startswith(keys.held("")) and kind == b"zset":
            self.sets[f"held {name.removeprefix(keys.held(''))}"] = dict(value)
        elif name.startswith((keys.unique(""), keys.tombstone(""), keys.rerun(""))):
            self._sort_in_lock(keys, name, kind, value, ttl)
        elif name.startswith(keys.claims("")) and kind == b"hash":
            identity = name.removeprefix(keys.claims(""))
            suspect = value.pop(Field.SUSPECT, None)
            if suspect is not None:
                self.suspects[identity] = suspect.decode()
            if value:
                self.claims[identity] = {at.decode(): raw for at, raw in value.items()}
        elif name == keys.leases and kind == b"zset":
            self.leases = {identity.decode(): score for identity, score in value}
        elif name == keys.paused and kind == b"set":
            self.paused = {queue.decode() for queue in value}
        elif name == keys.queues and kind == b"set":
            self.registered = {queue.decode() for queue in value}
        elif name == keys.held_classes and kind == b"set":
            self.held_classes = {job_class.decode() for job_class in value}
        elif name == keys.counters and kind == b"hash":
            self.counters |= {what.decode(): int(amount) for what, amount in value.items()}
        elif name in counted and kind == b"string":
            self.counters[counted[name]] = int(value)
        elif not name.startswith(
            (keys.leader, keys.epoch, f"{keys.processed}:", f"{keys.failed}:")
        ):
            self.broken.add(name)

    def _sort_in_lock(self, keys: Keys, name: str, kind: bytes, value: Any, ttl: int) -> None:
        digest = name.rpartition(":")[2]
        if name == keys.unique(digest) and kind == b"string":
            self.locks[digest] = value.decode()
            self.ttls[digest] = ttl / 1000 if ttl >= 0 else ttl
        elif name == keys.tombstone(digest) and kind == b"hash":
            self.tombstones[digest] = (int(value[b"deaths"]), float(value[b"until"]))
        elif name == keys.rerun(digest) and kind == b"string":
            self.reruns[digest] = value
        else:
            self.broken.add(name)


def _names(client: redis.Redis, prefix: str) -> list[bytes]:
    # A scan may name a key twice.
    return sorted(set(client.scan_iter(match=f"{prefix}*", count=_SCAN)))


def _ask(pipe: Any, name: bytes, kind: bytes) -> None:
    match kind:
        case b"list":
            pipe.lrange(name, 0, -1)
        case b"zset":
            pipe.zrange(name, 0, -1, withscores=True)
        case b"hash":
            pipe.hgetall(name)
        case b"set":
            pipe.smembers(name)
        case b"string":
            pipe.get(name)
        case _:
            pipe.type(name)
