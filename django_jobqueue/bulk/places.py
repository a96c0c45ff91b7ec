"""The places where jobs wait, by a text that can be written down, and what can be done there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django_jobqueue.api import moves
from django_jobqueue.api.entries import (
    DeadEntry,
    Entry,
    HeldEntry,
    QueueEntry,
    RetryEntry,
    ScheduledEntry,
)
from django_jobqueue.api.progress import Progress
from django_jobqueue.api.queues import Queue
from django_jobqueue.api.sets import DeadSet, HeldSet, RetrySet, ScheduledSet, SortedSet
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.store.entries import Scored
from django_jobqueue.store.removal import Place
from django_jobqueue.store.store import Store

#: Characters that the name of a queue or a class may have here.
LONGEST = 500


class Verb(StrEnum):
    """What becomes of each job."""

    RETRY = "retry"
    ENQUEUE = "enqueue"
    RELEASE = "release"
    KILL = "kill"
    DELETE = "delete"


#: What can be done in each kind of place.
_VERBS: dict[str, tuple[Verb, ...]] = {
    "queue": (Verb.KILL, Verb.DELETE),
    "schedule": (Verb.ENQUEUE, Verb.KILL, Verb.DELETE),
    "retry": (Verb.RETRY, Verb.ENQUEUE, Verb.KILL, Verb.DELETE),
    "dead": (Verb.RETRY, Verb.DELETE),
    "held": (Verb.RELEASE, Verb.KILL, Verb.DELETE),
}


def place_of(text: str) -> Queue | SortedSet[Any]:
    """
    Return what ``api`` has for a place: of ``queue:NAME`` the Queue, of ``schedule``, ``retry``,
    ``dead`` and ``held:CLASS`` the set.

    Raises: InvalidQuery.
    """
    spot = Spot.of(text)
    if spot.kind == "queue":
        return Queue(spot.name)
    if spot.kind == "held":
        return HeldSet(spot.name)
    sets: dict[str, type[SortedSet[Any]]] = {
        "schedule": ScheduledSet, "retry": RetrySet, "dead": DeadSet,
    }  # fmt: skip
    return sets[spot.kind]()


def verbs_of(text: str) -> tuple[Verb, ...]:
    """Return what can be done in a place. Raises: InvalidQuery."""
    return _VERBS[Spot.of(text).kind]


@dataclass(frozen=True, slots=True)
class Spot:
    """A place: its kind, and the name of the queue or of the held class."""

    kind: str
    name: str = ""

    @classmethod
    def of(cls, text: object) -> Spot:
        """Read it. Raises: InvalidQuery."""
        kind, colon, name = text.partition(":") if isinstance(text, str) else ("", "", "")
        is_named = kind in ("queue", "held")
        fits = kind in _VERBS and bool(colon) == is_named and bool(name) == is_named
        # A lone surrogate is in no name, for it cannot be sent to Redis.
        if not fits or len(name) > LONGEST or any("\ud800" <= c <= "\udfff" for c in name):
            raise InvalidQuery(
                "place", text, "give 'queue:NAME', 'schedule', 'retry', 'dead' or 'held:CLASS'"
            )
        return cls(kind, name)

    def place(self, store: Store) -> Place:
        """Return its key."""
        if self.kind == "queue":
            return Place.queue(store.keys, self.name)
        if self.kind == "held":
            return Place.held(store.keys, self.name)
        return Place.sorted_set(store.keys, self.kind)

    def entry(self, store: Store, found: Scored) -> Entry:
        """Return what was found there as a job; in a queue the score is how many are before it."""
        if self.kind == "queue":
            return QueueEntry(store, self.name, found[0], -1 - int(found[1]))
        if self.kind == "held":
            return HeldEntry(store, self.name, found)
        make = {"schedule": ScheduledEntry, "retry": RetryEntry, "dead": DeadEntry}[self.kind]
        return make(store, self.place(store), found)

    def act(self, store: Store, verb: Verb, page: Sequence[Entry], done: Progress) -> None:
        """Do one thing with a page of at most 100 jobs, and count what became of them."""
        raws = [entry.raw for entry in page]
        if verb is Verb.DELETE:
            indexes = [entry.index for entry in page]
            done.removed(len(raws), store.removal.delete(self.place(store), raws, indexes))
        elif verb is Verb.KILL:
            done.removed(len(raws), self._kill(store, page, raws))
        elif verb is Verb.RELEASE:
            done.moved(moves.release(store, self.name, raws))
        elif self.kind == "dead":
            done.moved(moves.revive(store, raws))
        else:
            spares = verb is Verb.RETRY
            done.moved(moves.promote(store, self.kind, raws, spares_attempt=spares))

    def _kill(self, store: Store, page: Sequence[Entry], raws: list[bytes]) -> int:
        entries = {entry.raw: entry for entry in page}
        return store.removal.kill(
            self.place(store),
            raws,
            lambda raw: moves.buried(raw, entries[raw].place, entries[raw].queue),
            [entry.index for entry in page],
        )
