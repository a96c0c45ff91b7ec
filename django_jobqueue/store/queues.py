"""The queues: lists that jobs are pushed to at the left and taken from at the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django_jobqueue import clock
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Command, Link

#: Seconds for which a process does not register a queue again.
REGISTERED_FOR = 10.0

#: Payloads in one LPUSH: a longer one would keep Redis from others.
PUSH_LIMIT = 500


class Queues:
    """Push jobs, now or for later, and look at the queues."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self._registered: dict[str, float] = {}

    def push(
        self,
        queues: Mapping[str, Sequence[bytes]],
        scheduled: Sequence[tuple[float, bytes]] = (),
    ) -> None:
        """
        Write payloads in one round trip: ``queues`` to run now, ``scheduled`` at epoch seconds.

        When Redis is full nothing is written. The first of each sequence runs first.

        Raises: StoreUnavailable when it is not known whether the jobs were
        written, StoreFull and StoreRefused when they were not.
        """
        keys = self._keys
        now = clock.monotonic()
        commands: list[Command] = []
        fresh = [
            q for q in queues if now - self._registered.get(q, -REGISTERED_FOR) >= REGISTERED_FOR
        ]
        for queue, payloads in queues.items():
            for start in range(0, len(payloads), PUSH_LIMIT):
                commands.append(("LPUSH", keys.queue(queue), *payloads[start : start + PUSH_LIMIT]))
        if scheduled:
            members: list[str | bytes] = []
            for at, payload in scheduled:
                members += (f"{at:.6f}", payload)
            commands.append(("ZADD", keys.schedule, *members))
        if fresh:
            commands.insert(0, ("SADD", keys.queues, *fresh))
        if len(commands) == 1:
            self._link.call(*commands[0])
        elif commands:
            self._link.pipeline(commands, atomic=len(commands) - bool(fresh) > 1)
        for queue in fresh:
            self._registered[queue] = now

    def push_raw(self, queue: str, raw: bytes) -> None:
        """Push bytes as they are, at the end of a queue."""
        self._link.call("LPUSH", self._keys.queue(queue), raw)

    def names(self) -> list[str]:
        """Return the names of all queues that were ever pushed to, sorted."""
        return sorted(
            name.decode(errors="replace") for name in self._link.call("SMEMBERS", self._keys.queues)
        )

    def sizes(self, names: Sequence[str]) -> dict[str, int]:
        """Return the number of jobs waiting in each queue, in one round trip."""
        replies = self._link.pipeline([("LLEN", self._keys.queue(name)) for name in names])
        return dict(zip(names, replies, strict=True))

    def page(self, queue: str, start: int = 0, count: int = 100) -> list[bytes]:
        """Return up to ``count`` payloads of a queue, the next to run first."""
        found: list[bytes] = self._link.call(
            "LRANGE", self._keys.queue(queue), -(start + count), -(start + 1)
        )
        return found[::-1]

    def pause(self, queue: str) -> None:
        """Keep all workers from taking jobs of a queue."""
        self._link.call("SADD", self._keys.paused, queue)

    def resume(self, queue: str) -> None:
        """Let the workers take jobs of a queue again."""
        self._link.call("SREM", self._keys.paused, queue)
