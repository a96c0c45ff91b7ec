"""The queues: lists that jobs are pushed to at the left and taken from at the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django_jobqueue import clock
from django_jobqueue.exceptions import InvalidPayload
from django_jobqueue.payload import Payload
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Command, Link, Word
from django_jobqueue.store.locks import Lock, lock_keys, milliseconds

#: Seconds for which a process does not register a queue again.
REGISTERED_FOR = 10.0

#: Payloads in one LPUSH: a longer one would keep Redis from others.
PUSH_LIMIT = 500


@dataclass(slots=True)  # not frozen: that would take three times as long to make
class Push:
    """One job to write: its queue, its bytes, when (epoch s; None for now), and its lock."""

    queue: str
    raw: bytes
    at: float | None = None
    lock: Lock | None = None


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

    def push_unique(self, jobs: Sequence[Push], *, healing: bool = False) -> dict[int, str]:
        """
        Write a page of jobs (1,000 at most) in one round trip, the unique ones once.

        Returns, by their index, the jobs that were not written, with the jid that
        holds their lock; an empty text where a tombstone forbids it, which only
        ``healing`` obeys. Applied twice it is as applied once, for jobs that are unique.

        Raises: as ``push``.
        """
        keys = self._keys
        queues = list(dict.fromkeys(job.queue for job in jobs if job.at is None))
        index = {queue: number for number, queue in enumerate(queues, 3)}
        names = [keys.queues, keys.schedule, *map(keys.queue, queues)]
        arguments: list[Word] = ["heal" if healing else "", len(queues), *queues]
        for job in jobs:
            at, lock = 0, job.lock
            if lock is not None:
                at = len(names) + 1
                # Only those that this page may touch: a word costs as much as half a lock.
                if healing:
                    names += lock_keys(keys, lock)[:2]
                elif lock.rerun:
                    names += lock_keys(keys, lock)
                else:
                    names.append(keys.unique(lock.digest))
            arguments += (
                job.raw,
                index[job.queue] if job.at is None else 0,
                "" if job.at is None else f"{job.at:.6f}",
                at,
                *(("", 0, 0) if lock is None else (lock.jid, _ttl(job, lock))),
            )
            if lock is not None:
                # A reconciler says of a row only that it needs a job, and not that it has
                # changed: every tick during a long run would run it once more.
                arguments.append(int(lock.rerun and not healing))
        exceptions = self._link.script("enqueue", names, arguments)
        it = iter(exceptions)
        return {n - 1: jid.decode(errors="replace") for n, jid in zip(it, it, strict=True)}

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

    def page(
        self, queue: str, start: int = 0, count: int = 100, *, newest_first: bool = False
    ) -> list[bytes]:
        """Return up to ``count`` payloads of a queue, the next to run first or the last pushed."""
        key = self._keys.queue(queue)
        if newest_first:
            newest: list[bytes] = self._link.call("LRANGE", key, start, start + count - 1)
            return newest
        found: list[bytes] = self._link.call("LRANGE", key, -(start + count), -(start + 1))
        return found[::-1]

    def windows(self, queue: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return what stands in several places, each a start and a count, as ``page`` does."""
        key = self._keys.queue(queue)
        pages = self._link.pipeline(
            [("LRANGE", key, -(start + count), -(start + 1)) for start, count in spans]
        )
        return [raw for page in pages for raw in page[::-1]]

    def look(self, queue: str, start: int, count: int) -> tuple[int, list[bytes]]:
        """Return the length of a queue and a page of it, the next to run first, from one moment."""
        key = self._keys.queue(queue)
        length, found = self._link.pipeline(
            [("LLEN", key), ("LRANGE", key, -(start + count), -(start + 1))], atomic=True
        )
        return length, found[::-1]

    def latency(self, queue: str) -> float:
        """
        Return for how long the oldest job of a queue waits, in seconds; 0 for an empty one.

        As Sidekiq counts: from the time that the next job to run was enqueued.
        """
        return max(map(waited, self.page(queue, 0, 1)), default=0.0)

    def pause(self, queue: str) -> None:
        """Keep all workers from taking jobs of a queue."""
        self._link.call("SADD", self._keys.paused, queue)

    def resume(self, queue: str) -> None:
        """Let the workers take jobs of a queue again."""
        self._link.call("SREM", self._keys.paused, queue)

    def is_paused(self, queue: str) -> bool:
        """Return whether the workers leave a queue alone."""
        return bool(self._link.call("SISMEMBER", self._keys.paused, queue))


def waited(raw: bytes) -> float:
    """Return for how long a job has been in its queue, in seconds; 0 where it does not say."""
    try:
        payload = Payload.decode(raw)
    except InvalidPayload:
        return 0.0  # a worker buries it without delay
    since = payload.time("enqueued_at") or payload.time("created_at")
    return 0.0 if since is None else max(0.0, clock.now() - since)


def _ttl(job: Push, lock: Lock) -> int:
    """Return the milliseconds of a lock: as long as the job waits for its time, and its own."""
    wait = 0.0 if job.at is None else max(0.0, job.at - clock.now())
    return milliseconds(wait + lock.ttl)
