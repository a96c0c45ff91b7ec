"""Read through everything that waits or runs, to compare it with what there should be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link, Word

#: Entries read in one round trip.
PAGE = 1000

#: Where a job may stand, besides the dead set.
SCHEDULE, QUEUE, CLAIMED, RETRY, HELD = "schedule", "queue", "claimed", "retry", "held"


class Survey:
    """Every job in Redis, a page at a time."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def jobs(self, job_class: str) -> Iterator[tuple[str, list[bytes]]]:
        """
        Yield pages of payloads and where they stand; of the held ones only those of a class.

        What moves on meanwhile is met where it goes, for the places come in the
        order in which jobs go through them; it may be met twice. Only a job that
        moves back at the wrong moment is not met: who must be sure reads twice.
        """
        yield from self._of_set(SCHEDULE, self._keys.schedule)
        for name in sorted(self._link.call("SMEMBERS", self._keys.queues)):
            yield from self._of_queue(name.decode(errors="replace"))
        yield from self._claims()
        yield from self._of_set(RETRY, self._keys.retry)
        yield from self._of_set(HELD, self._keys.held(job_class))

    def places(self) -> Iterator[tuple[str, Iterator[list[bytes]]]]:
        """
        Yield every place but the dead set, with what reads its payloads a page at a time.

        ``schedule``, ``queue:NAME``, ``process:IDENTITY`` for what a process has claimed,
        ``retry`` and ``held:CLASS``, in the order of ``jobs``; first of all, because they are
        quick to read, the claims of processes with a lease.
        """
        for name in self._link.call("ZRANGE", self._keys.leases, 0, -1):
            yield self._claims_of(self._keys.claims(name.decode(errors="replace")))
        yield SCHEDULE, self._pages(self._of_set(SCHEDULE, self._keys.schedule))
        for name in self._names(self._keys.queues):
            yield f"{QUEUE}:{name}", self._pages(self._of_queue(name))
        for names in self._scan("SCAN", match=self._keys.all_claims):
            for name in sorted(set(names)):
                yield self._claims_of(name.decode(errors="replace"))
        yield RETRY, self._pages(self._of_set(RETRY, self._keys.retry))
        for name in self._names(self._keys.held_classes):
            yield f"{HELD}:{name}", self._pages(self._of_set(HELD, self._keys.held(name)))

    def _claims_of(self, key: str) -> tuple[str, Iterator[list[bytes]]]:
        (identity,) = self._keys.claimants([key.encode()])
        return f"process:{identity}", (self._link.call("HVALS", key) for _ in range(1))

    def _names(self, key: str) -> list[str]:
        return sorted(name.decode(errors="replace") for name in self._link.call("SMEMBERS", key))

    def _pages(self, found: Iterator[tuple[str, list[bytes]]]) -> Iterator[list[bytes]]:
        return (page for _, page in found)

    def _of_queue(self, name: str) -> Iterator[tuple[str, list[bytes]]]:
        # From the end that is pushed to: a push moves what was read already to the
        # places ahead, and what is taken at the other end is met among the claims.
        at = 0
        while True:
            page = self._link.call("LRANGE", self._keys.queue(name), at, at + PAGE - 1)
            if page:
                yield QUEUE, page
            if len(page) < PAGE:
                return
            at += PAGE

    def _of_set(self, place: str, key: str) -> Iterator[tuple[str, list[bytes]]]:
        # A scan returns all that stays; by rank, what leaves would hide others.
        for pairs in self._scan("ZSCAN", key):
            yield place, [member for member, _ in pairs]

    def _claims(self) -> Iterator[tuple[str, list[bytes]]]:
        for names in self._scan("SCAN", match=self._keys.all_claims):
            for name in sorted(set(names)):
                claims = self._link.call("HVALS", name)
                if claims:
                    yield CLAIMED, claims

    def _scan(self, command: str, *key: Word, match: str = "") -> Iterator[list[Any]]:
        words: list[Word] = [*(("MATCH", match) if match else ()), "COUNT", PAGE]
        cursor = 0
        while True:
            cursor, found = self._link.call(command, *key, cursor, *words)
            if found:
                yield found
            if cursor == 0:
                return
