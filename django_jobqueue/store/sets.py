"""The sorted sets: jobs that wait for a time, and jobs that died."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link, Word, scored
from django_jobqueue.store.locks import ENDS, Lock, lock_words
from django_jobqueue.store.locks import HELD as HELD_LOCK

#: The verbs of a due entry (see lua/promote.lua).
PUSH, LATER, HOLD, DROP = "push", "later", "held", "drop"

#: The sets that due jobs are promoted from, in the order of ``Due.entries``.
SCHEDULE, RETRY = "schedule", "retry"


@dataclass(frozen=True, slots=True)
class Due:
    """
    Entries whose time has come, by set, and the seconds until the earliest of all (or None).

    ``broken`` maps sets to why they cannot be read.
    """

    earliest: float | None
    entries: dict[str, list[bytes]]
    broken: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Promotion:
    """
    What becomes of one due entry.

    ``old`` as it was read; ``new`` what is written; ``queue`` for a push,
    ``job_class`` for what a kill switch stops; ``delay`` in seconds for later;
    ``lock`` follows the job.
    """

    verb: str
    old: bytes
    new: bytes = b""
    queue: str = ""
    delay: float = 0.0
    job_class: str = ""
    lock: Lock | None = None


@dataclass(frozen=True, slots=True)
class Revival:
    """One dead job that is to run once more: as it was read, as it is written, where, its lock."""

    old: bytes
    new: bytes
    queue: str
    lock: Lock | None = None


@dataclass(frozen=True, slots=True)
class Revived:
    """
    What became of dead jobs, by their index: only the exceptions are named.

    ``owners`` has the jid of the newer job that holds the lock, ``refused`` why
    Redis would not take a job, ``gone`` those that were not dead any more.
    """

    owners: dict[int, str]
    refused: dict[int, str]
    gone: frozenset[int]


class Sets:
    """Read and promote what is due; look at the sets."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def due(self, limit: int = 100) -> Due:
        """Return up to ``limit`` due entries of each set, the longest overdue first."""
        keys = self._keys
        earliest, scheduled, retries, broken = self._link.script(
            "due", [keys.schedule, keys.retry], [limit]
        )
        it = iter(broken)
        return Due(
            float(earliest) if earliest else None,
            {SCHEDULE: scheduled, RETRY: retries},
            {
                (SCHEDULE, RETRY)[number - 1]: why.decode(errors="replace")
                for number, why in zip(it, it, strict=True)
            },
        )

    def promote(self, name: str, promotions: Sequence[Promotion]) -> tuple[int, dict[int, str]]:
        """
        Move entries out of the schedule or the retry set, each at most once.

        Returns how many were moved by this call, and why Redis refused others,
        by their index.
        """
        return self._promote(self._keys.sorted_set(name), promotions)

    def release(
        self, job_class: str, promotions: Sequence[Promotion]
    ) -> tuple[int, dict[int, str]]:
        """Move held jobs of a class to their queues, as ``promote`` does."""
        return self._promote(self._keys.held(job_class), promotions)

    def _promote(self, zset: str, promotions: Sequence[Promotion]) -> tuple[int, dict[int, str]]:
        keys = self._keys
        key_names = [zset, keys.queues, keys.held_classes]
        arguments: list[Word] = []
        for promotion in promotions:
            number: int | float = promotion.delay
            if promotion.verb == PUSH:
                key_names.append(keys.queue(promotion.queue))
                number = len(key_names)
            elif promotion.verb == HOLD:
                key_names.append(keys.held(promotion.job_class))
                number = len(key_names)
            name = promotion.job_class if promotion.verb == HOLD else promotion.queue
            lock = lock_words(keys, key_names, promotion.lock, ttl=_lock_ttl(promotion))
            arguments += (promotion.old, promotion.verb, number, promotion.new, name, *lock)
        moved, refused = self._link.script("promote", key_names, arguments)
        return moved, _by_index(refused)

    def revive(self, revivals: Sequence[Revival]) -> Revived:
        """
        Move dead jobs to their queues, where no newer job holds their lock.

        Those that move take their lock, and their row need not cool down any longer.
        A page of 100 at most.
        """
        keys = self._keys
        names = [keys.dead, keys.queues]
        arguments: list[Word] = []
        for revival in revivals:
            names.append(keys.queue(revival.queue))
            queue = len(names)
            ttl = ENDS if revival.lock is None else revival.lock.ttl
            lock = lock_words(keys, names, revival.lock, ttl=ttl)
            arguments += (revival.old, revival.new, queue, revival.queue, *lock)
        owners, refused, gone = self._link.script("revive", names, arguments)
        return Revived(_by_index(owners), _by_index(refused), frozenset(n - 1 for n in gone))

    def sizes(self) -> dict[str, int]:
        """Return the number of entries of ``schedule``, ``retry`` and ``dead``."""
        names = ("schedule", "retry", "dead")
        replies = self._link.pipeline([("ZCARD", self._keys.sorted_set(name)) for name in names])
        return dict(zip(names, replies, strict=True))

    def page(self, name: str, start: int = 0, count: int = 100) -> list[tuple[bytes, float]]:
        """Return entries of a set and their scores (epoch seconds), the earliest first."""
        key = self._keys.sorted_set(name)
        return scored(self._link.call("ZRANGE", key, start, start + count - 1, "WITHSCORES"))

    def lead(self, token: str, term: float) -> bool:
        """Become or stay the leader for ``term`` seconds; return whether we are."""
        return bool(self._link.script("lead", [self._keys.leader], [token, int(term * 1000)]))


def _lock_ttl(promotion: Promotion) -> float:
    """Return how long the lock of a promoted job lasts from now (s), ``ENDS`` or ``HELD``."""
    if promotion.lock is None or promotion.verb == DROP:
        return ENDS
    if promotion.verb == HOLD:
        return HELD_LOCK
    return promotion.lock.ttl + (max(0.0, promotion.delay) if promotion.verb == LATER else 0.0)


def _by_index(flat: list[Any]) -> dict[int, str]:
    """Return what a script says of some entries, by their index from 0."""
    it = iter(flat)
    return {n - 1: text.decode(errors="replace") for n, text in zip(it, it, strict=True)}
