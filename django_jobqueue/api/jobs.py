"""What a queue and a set have in common: a place with jobs, read by the page, worked through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from django_jobqueue import clock, connection
from django_jobqueue.api import moves
from django_jobqueue.api.arguments import (
    BUDGET,
    CURSORS,
    MOST,
    SAMPLE,
    most,
    page_count,
    position,
    seconds,
    text,
)
from django_jobqueue.api.entries import Entry, KillableEntry
from django_jobqueue.api.filters import Filter
from django_jobqueue.api.progress import Progress, Told
from django_jobqueue.exceptions import SearchUnfinished
from django_jobqueue.store.removal import Place
from django_jobqueue.store.store import Store

E = TypeVar("E", bound=Entry)
K = TypeVar("K", bound=KillableEntry)

#: Decides which jobs are meant.
Match = Callable[[E], bool]

#: Reads the next entries of a search: see ``Jobs._step``.
Step = Callable[[int, str | None], tuple[int | None, int, list[E]]]


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

        It has to be searched for: all is read, some hundred entries at a time (a queue
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

    def search(
        self,
        meant: Filter,
        *,
        budget: float | None = BUDGET,
        cursor: int = 0,
        limit: int | None = MOST,
    ) -> Found[E]:
        """
        Return jobs for which a filter holds.

        Arguments, end and order are those of ``scan``, ``budget`` in seconds. A sorted set of
        which only some time is meant is read by its times, the earliest first, and not all
        through.

        Raises: InvalidQuery.
        """
        step = self._steps_of(meant, position(cursor, "cursor", below=CURSORS))
        return self._search(
            meant.hint, meant.matches, budget=budget, cursor=cursor, limit=limit, step=step
        )

    def _steps_of(self, meant: Filter, cursor: int) -> Step[E]:
        """Return what reads the entries for a search that begins, or goes on at a cursor."""
        return self._step

    def _search(
        self,
        sought: str | None,
        match: Match[E],
        *,
        budget: float | None,
        cursor: int,
        limit: int | None,
        step: Step[E] | None = None,
    ) -> Found[E]:
        budget, limit = seconds(budget), most(limit)
        step = self._step if step is None else step
        ahead: int | None = position(cursor, "cursor", below=CURSORS)
        began, looked_at = clock.monotonic(), 0
        entries: list[E] = []
        while ahead is not None:
            ahead, count, candidates = step(ahead, sought)
            looked_at += count
            entries += filter(match, candidates)
            if limit is not None and len(entries) >= limit:
                break
            if budget is not None and clock.monotonic() - began >= budget:
                break
        return Found(entries, ahead, looked_at)

    def sample(self, count: int = SAMPLE) -> list[E]:
        """
        Return about ``count`` jobs (1,000 at most) from evenly spaced places, all where few are.

        To tell how many of all are of a kind: the share of them in the sample. In two
        round trips.

        Raises: InvalidQuery.
        """
        spans = _spans(len(self), page_count(count), self._most_windows)
        return self._windows(spans) if spans else []

    #: Places that a sample is taken from.
    _most_windows = 50

    def _windows(self, spans: Sequence[tuple[int, int]]) -> list[E]:
        """Return the jobs of several places, each a start and a count, in one round trip."""
        raise NotImplementedError

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
            raws, indexes = [entry.raw for entry in page], [entry.index for entry in page]
            done.removed(len(raws), self._store.removal.delete(self._place, raws, indexes))

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
                [entry.index for entry in page],
            )
            done.removed(len(page), killed)

        return self._work_through(kill, match, limit, progress)


def _spans(size: int, count: int, most_windows: int) -> list[tuple[int, int]]:
    """Return starts and counts of windows that lie evenly over so many, the ends included."""
    if size <= count:
        return [(0, size)] if size else []
    windows = min(count, most_windows)
    width = count // windows
    if windows == 1:
        return [((size - width) // 2, width)]
    return [((size - width) * at // (windows - 1), width) for at in range(windows)]


def _within(jid: str) -> str | None:
    """Return how a jid stands in an entry; None where JSON may write it in several ways."""
    return jid if jid.isascii() and jid.replace("-", "").replace("_", "").isalnum() else None
