"""What a queue and a set have in common: a place with jobs, read by the page, worked through."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from django_jobqueue import clock, connection
from django_jobqueue.api import moves
from django_jobqueue.api.arguments import BUDGET, MOST, most, position, seconds, text
from django_jobqueue.api.entries import Entry, KillableEntry
from django_jobqueue.api.records import JobRecord
from django_jobqueue.client.results import Status
from django_jobqueue.exceptions import SearchUnfinished
from django_jobqueue.payload import printable
from django_jobqueue.store.removal import Place
from django_jobqueue.store.store import Store

logger = logging.getLogger("django_jobqueue.api")

E = TypeVar("E", bound=Entry)
K = TypeVar("K", bound=KillableEntry)

#: Decides which jobs are meant.
Match = Callable[[E], bool]


@dataclass(slots=True)
class Progress:
    """
    How far a verb over many jobs has come, or what it did in the end.

    ``total`` is how many stood there when it began, ``looked_at`` how many of them
    it has read, ``matched`` how many were meant, ``done`` how many went their way.
    The others of those that were meant: ``gone`` were moved by somebody else,
    ``disabled`` are stopped by their kill switch, ``refused`` by a client middleware,
    ``duplicates`` have a newer job that holds their lock; they stay where they
    were, counted by ``stayed``. So do ``failed``, where a middleware raised or Redis
    refused; each is logged.
    """

    total: int
    looked_at: int = 0
    matched: int = 0
    done: int = 0
    failed: int = 0
    stayed: Counter[Status] = field(default_factory=Counter)

    @property
    def gone(self) -> int:
        """How many somebody else had moved."""
        return self.stayed[Status.GONE]

    @property
    def disabled(self) -> int:
        """How many a kill switch stops."""
        return self.stayed[Status.DISABLED]

    @property
    def refused(self) -> int:
        """How many a client middleware refused."""
        return self.stayed[Status.REFUSED]

    @property
    def duplicates(self) -> int:
        """How many have a newer job that holds their lock."""
        return self.stayed[Status.DUPLICATE]

    def removed(self, meant: int, there: int) -> None:
        """Take in a page that was deleted or killed."""
        self.done += there
        self._missed(meant - there)

    def moved(self, batch: moves.Batch) -> None:
        """Take in a page that was let go on."""
        self.done += batch.moved
        self._missed(batch.gone)
        self.stayed.update(each.status for each in batch.stayed)
        self.failed += len(batch.faults)
        for raw, fault in batch.faults.items():
            logger.error(
                "%r stays where it was: %s", JobRecord(raw), printable(str(fault)), exc_info=fault
            )

    def _missed(self, count: int) -> None:
        if count:
            self.stayed[Status.GONE] += count

    def copy(self) -> Progress:
        """Return how it stands now."""
        return replace(self, stayed=Counter(self.stayed))


#: Is told how far it has come, after each page. What it raises ends the work there.
Told = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Found(Generic[E]):
    """
    What a search within a budget found.

    ``entries`` are in the order of the search; ``cursor`` is where to go on, None where
    all was looked at; ``looked_at`` counts the entries, those of a sorted set about.
    """

    entries: list[E]
    cursor: int | None
    looked_at: int


class Jobs(Generic[E]):
    """
    Jobs that wait in one place.

    Making one costs nothing and asks nobody; each call asks Redis anew, so it is
    safe to share and never stale. ``store`` is another Redis than the settings'.

    ``len()`` is how many there are, in one round trip. Iteration is lazy, a hundred
    at a time, and never holds more. Entries that leave while it goes on, by its
    own hand or another's, make it pass over none of the others in a sorted set; in a
    queue some may be met twice or not at all when workers take many. ``in`` is not
    offered, for it would read everything: see ``find``.

    Raises, from every call: StoreUnavailable, StoreFull, StoreRefused.
    """

    __contains__ = None

    def __init__(self, *, store: Store | None = None) -> None:
        self._given = store

    @property
    def _store(self) -> Store:
        # Asked anew each time: after a fork, or in a test, it is another one.
        return connection.store() if self._given is None else self._given

    @property
    def _place(self) -> Place:
        raise NotImplementedError

    @property
    def size(self) -> int:
        """How many jobs there are, as ``len()``."""
        return self._store.removal.size(self._place)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[E]:
        for page in self._pages():
            yield from page

    def _pages(self) -> Iterator[list[E]]:
        """Yield everything that is there at the beginning, a page at a time."""
        raise NotImplementedError

    def _step(self, cursor: int, sought: str | None) -> tuple[int | None, int, list[E]]:
        """
        Look at the next entries; return where to go on, how many they were, and those to consider.

        ``sought`` is a text that they contain; None for all.
        """
        raise NotImplementedError

    # Searching -----------------------------------------------------------------

    def find(self, jid: str, *, budget: float | None = BUDGET, cursor: int = 0) -> E | None:
        """
        Return the job with this id, or None where it is not here.

        It has to be searched for: all is read, 500 entries at a time (a queue
        from the last pushed on), until it is found or ``budget`` seconds are over (None:
        no end). A step that has begun is ended, so a budget of 0 is one step.

        Raises: SearchUnfinished when the budget was spent and there is more to read;
        its ``cursor`` goes on there. InvalidQuery.
        """
        text(jid, "jid")
        found = self._search(
            _within(jid), lambda entry: entry.jid == jid, budget=budget, cursor=cursor, limit=1
        )
        if found.entries:
            return found.entries[0]
        if found.cursor is not None:
            raise SearchUnfinished(f"jid {jid!r}", found.looked_at, found.cursor)
        return None

    def scan(
        self,
        sought: str,
        *,
        budget: float | None = BUDGET,
        cursor: int = 0,
        limit: int | None = MOST,
    ) -> Found[E]:
        """
        Return jobs in whose bytes ``sought`` stands, as it is written there, case and all.

        Ends after ``budget`` seconds (None: no end), or when ``limit`` were found (a
        step that finds more returns them all). Go on with the ``cursor`` of what is
        returned, until that is None. In a sorted set the order is none, and one may
        come twice.

        Raises: InvalidQuery.
        """
        text(sought, "sought")
        return self._search(sought, lambda entry: True, budget=budget, cursor=cursor, limit=limit)

    def _search(
        self,
        sought: str | None,
        match: Match[E],
        *,
        budget: float | None,
        cursor: int,
        limit: int | None,
    ) -> Found[E]:
        budget, limit = seconds(budget), most(limit)
        ahead: int | None = position(cursor, "cursor")
        began, looked_at = clock.monotonic(), 0
        entries: list[E] = []
        while ahead is not None:
            ahead, count, candidates = self._step(ahead, sought)
            looked_at += count
            entries += filter(match, candidates)
            if limit is not None and len(entries) >= limit:
                break
            if budget is not None and clock.monotonic() - began >= budget:
                break
        return Found(entries, ahead, looked_at)

    # Verbs over many -----------------------------------------------------------

    def clear(self, progress: Told | None = None) -> int:
        """
        Delete every job that is here now; return how many there were.

        A hundred at a time, each with its lock, so that Redis is never kept from
        others. What is pushed meanwhile stays.
        """
        done = Progress(total=0)

        def told(removed: int, left: int) -> None:
            done.total = removed + left
            done.looked_at = done.matched = done.done = removed
            if progress is not None:
                progress(done.copy())

        return self._store.removal.clear(self._place, told)

    def delete_all(
        self,
        match: Match[E] | None = None,
        *,
        limit: int | None = None,
        progress: Told | None = None,
    ) -> Progress:
        """
        Delete the jobs of which ``match`` says so, without it all; return what was done.

        ``match`` is called with each entry, ``progress`` after each page of 100 with a
        Progress; what they raise ends it there. At most ``limit`` are deleted.
        """

        def delete(page: Sequence[E], done: Progress) -> None:
            raws = [entry.raw for entry in page]
            done.removed(len(raws), self._store.removal.delete(self._place, raws))

        return self._work_through(delete, match, limit, progress)

    def _work_through(
        self,
        act: Callable[[Sequence[E], Progress], None],
        match: Match[E] | None,
        limit: int | None,
        progress: Told | None,
    ) -> Progress:
        limit = most(limit)
        done = Progress(total=len(self))
        for page in self._pages():
            meant = [entry for entry in page if match is None or match(entry)]
            if limit is not None:
                meant = meant[: limit - done.matched]
            done.looked_at += len(page)
            done.matched += len(meant)
            if meant:
                act(meant, done)
            if progress is not None:
                progress(done.copy())
            if done.matched == limit:
                break
        return done


class KillableJobs(Jobs[K]):
    """Jobs that are not dead yet."""

    def kill_all(
        self,
        match: Match[K] | None = None,
        *,
        limit: int | None = None,
        progress: Told | None = None,
    ) -> Progress:
        """
        Move the jobs of which ``match`` says so to the dead set, without it all.

        As ``delete_all``, and as ``kill`` of an entry, but the signal ``job_died`` is
        not sent, as Sidekiq does with many. The dead set keeps its bounds
        (``DEAD_MAX_ENTRIES``): of more than that the oldest are gone.
        """

        def kill(page: Sequence[K], done: Progress) -> None:
            entries = {entry.raw: entry for entry in page}
            killed = self._store.removal.kill(
                self._place,
                [entry.raw for entry in page],
                lambda raw: moves.buried(raw, entries[raw].place, entries[raw].queue),
            )
            done.removed(len(page), killed)

        return self._work_through(kill, match, limit, progress)


def _within(jid: str) -> str | None:
    """Return how a jid stands in an entry; None where JSON may write it in several ways."""
    return jid if jid.isascii() and jid.replace("-", "").replace("_", "").isalnum() else None
