"""The locks of unique jobs: who holds each, for how long, and whether that job still lives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django_jobqueue.api import LockSet
from django_jobqueue.reports.entries import text_of
from django_jobqueue.reports.moments import now
from django_jobqueue.reports.plain import Plain

#: Locks of a page where nothing is said.
COUNT = 50


@dataclass(frozen=True, slots=True)
class LockFacts(Plain):
    """
    One lock: the job ``jid`` holds it for ``ttl`` more seconds (None: without an end).

    ``place`` is where that job was found, empty where it was not; ``has_holder`` is False
    where it is nowhere, None where that is not known: there is more than can be looked
    through at a glance, or the lock has changed hands meanwhile.
    """

    digest: str
    jid: str
    ttl: float | None
    place: str
    has_holder: bool | None


@dataclass(frozen=True, slots=True)
class Locks(Plain):
    """Some locks, in no order; ``cursor`` is where to go on, None where these were the last."""

    at: datetime
    locks: tuple[LockFacts, ...]
    cursor: str | None


def locks(*, cursor: int = 0, count: int = COUNT) -> Locks:
    """
    Return locks from a cursor on, about ``count``, in half a second at most.

    Raises: InvalidQuery, StoreError.
    """
    known = LockSet()
    page = known.page(cursor=cursor, count=count)
    holders = known.holders(page.locks)
    facts = []
    for lock in page.locks:
        place = holders.found.get(lock.jid, "")
        lives = True if place else (False if holders.lacks(lock) else None)
        facts.append(LockFacts(lock.digest, lock.jid, lock.ttl, place, lives))
    return Locks(now(), tuple(facts), text_of(page.cursor))
