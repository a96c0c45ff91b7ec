"""The sorted sets, as people see them: scheduled, to be retried, dead, held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from django_jobqueue import connection
from django_jobqueue.api import moves
from django_jobqueue.api.arguments import (
    MATCH_STEP,
    MOST,
    PAGE,
    STEP,
    class_name,
    epoch,
    page_count,
    position,
)
from django_jobqueue.api.entries import (
    DeadEntry,
    HeldEntry,
    RetryEntry,
    ScheduledEntry,
    SortedEntry,
    WaitingEntry,
    split_key,
)
from django_jobqueue.api.filters import Filter
from django_jobqueue.api.jobs import Jobs, KillableJobs, Match, Step
from django_jobqueue.api.progress import Progress, Told
from django_jobqueue.api.walks import WALKS, cut, place_of
from django_jobqueue.job.base import Job
from django_jobqueue.store.entries import Scored
from django_jobqueue.store.removal import Place
from django_jobqueue.store.store import Store

S = TypeVar("S", bound=SortedEntry)
W = TypeVar("W", bound=WaitingEntry)

#: A moment: a datetime (naive: in the current time zone) or epoch seconds.
Moment = datetime | float


class SortedSet(Jobs[S]):
    """Jobs in the order of their scores (epoch seconds). Iteration begins with the earliest."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def _entry(self, found: Scored) -> S:
        raise NotImplementedError

    def page(self, start: int = 0, count: int = PAGE, *, newest_first: bool = False) -> list[S]:
        """
        Return ``count`` entries (1,000 at most) from a rank on; 0 is the earliest.

        With ``newest_first`` 0 is the latest. As fast at any depth.

        Raises: InvalidQuery.
        """
        found = self._store.entries.page(
            self._place, position(start), page_count(count), newest_first=newest_first
        )
        return [self._entry(each) for each in found]

    def between(
        self,
        since: Moment | None = None,
        until: Moment | None = None,
        start: int = 0,
        count: int = PAGE,
        *,
        newest_first: bool = False,
    ) -> list[S]:
        """
        Return a page of the entries with a score in a range of time, both ends included.

        None is no end. Two round trips, as fast at any depth.

        Raises: InvalidQuery.
        """
        position(start)
        first, behind = self._ranks(since, until)
        count = min(page_count(count), behind - first - start)
        if count <= 0:
            return []
        if newest_first:
            # From the last of the range towards its first.
            first = behind - start - count
            return self.page(first, count)[::-1]
        return self.page(first + start, count)

    def count(self, since: Moment | None = None, until: Moment | None = None) -> int:
        """Return how many entries have a score in a range of time. Raises: InvalidQuery."""
        first, behind = self._ranks(since, until)
        return behind - first

    def get(self, key: str) -> S | None:
        """
        Return the entry with this ``key``, or None where it is gone. Nothing is searched.

        But of entries with one score, as a bulk has for one time, the first 1,000.

        Raises: InvalidQuery.
        """
        score, jid = split_key(key)
        first, behind = self._store.entries.ranks(self._place, score, score)
        if first == behind:
            return None
        for entry in self.page(first, min(MOST, behind - first)):
            if entry.jid == jid and entry.score == score:
                return entry
        return None

    def _ranks(self, since: Moment | None, until: Moment | None) -> tuple[int, int]:
        return self._store.entries.ranks(
            self._place,
            float("-inf") if since is None else epoch(since, "since"),
            float("inf") if until is None else epoch(until, "until"),
        )

    def _windows(self, spans: Sequence[tuple[int, int]]) -> list[S]:
        return [self._entry(each) for each in self._store.entries.windows(self._place, spans)]

    def _step(self, cursor: int, sought: str | None) -> tuple[int | None, int, list[S]]:
        position(cursor, "cursor")
        # Redis does not say how many it has passed over; it looks at about as many.
        count = STEP if sought is None else MATCH_STEP
        ahead, found = self._store.entries.scan(self._place, cursor, sought, count)
        return ahead or None, count, [self._entry(each) for each in found]

    def _steps_of(self, meant: Filter, cursor: int) -> Step[S]:
        if cursor >= WALKS:  # it was decided when the search began
            return self._walk(meant)
        if cursor or (meant.since is None and meant.until is None):
            return self._step
        if meant.hint is not None and self.count(meant.since, meant.until) > len(self) / 4:
            return self._step  # Redis itself looks for the hint, and sends only what has it
        return self._walk(meant)

    def _walk(self, meant: Filter) -> Step[S]:
        """Return what reads the entries of the filter's time, the earliest first."""
        since, until = (
            end if at is None else at
            for end, at in ((float("-inf"), meant.since), (float("inf"), meant.until))
        )

        def step(cursor: int, sought: str | None) -> tuple[int | None, int, list[S]]:
            score, passed = place_of(cursor) if cursor >= WALKS else (since, 0)
            found = self._store.entries.range(self._place, score, until, passed, STEP)
            ahead, found = (None, found) if len(found) < STEP else cut(found, score, passed)
            needle = (sought or "").encode()
            entries = [self._entry(each) for each in found if needle in each[0]]
            return ahead, len(found), entries

        return step

    def _pages(self) -> Iterator[list[S]]:
        entries, place = self._store.entries, self._place
        last = entries.last_score(place)
        page = [] if last is None else entries.page(place, 0, PAGE)
        # What is put off by the hand that reads lies ahead again, and would for ever.
        put_off: set[bytes] = set()
        while page:
            # The end is where it was at the beginning, or it would never come.
            within = [each for each in page if last is None or each[1] <= last]
            found = [self._entry(each) for each in within if each[0] not in put_off]
            if found:
                yield found
                put_off.update(entry.raw for entry in found if entry.is_rescheduled)
            if len(within) < len(page):
                return
            page = entries.after(place, page[-1], PAGE)


class WaitingSet(SortedSet[W], KillableJobs[W]):
    """Jobs that wait for a time."""

    @property
    def _place(self) -> Place:
        return Place.sorted_set(self._store.keys, self._name)

    #: ``schedule`` or ``retry``.
    _name = ""

    def enqueue_all(
        self,
        match: Match[W] | None = None,
        *,
        limit: int | None = None,
        progress: Told | None = None,
    ) -> Progress:
        """
        Let the jobs of which ``match`` says so go to their queues now, without it all.

        As ``enqueue_now`` of an entry, a hundred at a time; arguments as ``delete_all``.
        What is refused stays and is counted; so is one whose middleware raises, and
        the others go on.
        """
        return self._promote_all(match, limit, progress, spares_attempt=False)

    def _promote_all(
        self,
        match: Match[W] | None,
        limit: int | None,
        progress: Told | None,
        *,
        spares_attempt: bool,
    ) -> Progress:
        def promote(page: Sequence[W], done: Progress) -> None:
            raws = [entry.raw for entry in page]
            done.moved(moves.promote(self._store, self._name, raws, spares_attempt=spares_attempt))

        return self._work_through(promote, match, limit, progress)


class ScheduledSet(WaitingSet[ScheduledEntry]):
    """The jobs that run later; the score is when."""

    _name = "schedule"

    def _entry(self, found: Scored) -> ScheduledEntry:
        return ScheduledEntry(self._store, self._place, found)


class RetrySet(WaitingSet[RetryEntry]):
    """The jobs that failed and are tried again; the score is when."""

    _name = "retry"

    def _entry(self, found: Scored) -> RetryEntry:
        return RetryEntry(self._store, self._place, found)

    def retry_all(
        self,
        match: Match[RetryEntry] | None = None,
        *,
        limit: int | None = None,
        progress: Told | None = None,
    ) -> Progress:
        """Try the jobs of which ``match`` says so again now; else as ``enqueue_all``."""
        return self._promote_all(match, limit, progress, spares_attempt=True)


class DeadSet(SortedSet[DeadEntry]):
    """The jobs that failed for good, or were killed; the score is when."""

    @property
    def _place(self) -> Place:
        return Place.sorted_set(self._store.keys, "dead")

    def _entry(self, found: Scored) -> DeadEntry:
        return DeadEntry(self._store, self._place, found)

    def retry_all(
        self,
        match: Match[DeadEntry] | None = None,
        *,
        limit: int | None = None,
        progress: Told | None = None,
    ) -> Progress:
        """
        Let the jobs of which ``match`` says so run once more, without it all.

        As ``retry`` of an entry, a hundred at a time; arguments as ``delete_all``. What
        is refused stays dead and is counted; so is one whose middleware raises, and the
        others go on.
        """

        def revive(page: Sequence[DeadEntry], done: Progress) -> None:
            done.moved(moves.revive(self._store, [entry.raw for entry in page]))

        return self._work_through(revive, match, limit, progress)


class HeldSet(SortedSet[HeldEntry], KillableJobs[HeldEntry]):
    """
    The jobs of one class that its kill switch holds; the score is since when.

    ``job_class`` is the class or its wire name. Raises: InvalidQuery.
    """

    def __init__(self, job_class: str | type[Job], *, store: Store | None = None) -> None:
        super().__init__(store=store)
        self.job_class = class_name(job_class)

    @classmethod
    def all(cls, *, store: Store | None = None) -> list[HeldSet]:
        """Return the sets of all classes of which jobs are held, by name."""
        held = (connection.store() if store is None else store).held.classes()
        return [cls(name, store=store) for name in held if name]

    def __repr__(self) -> str:
        return f"<HeldSet {self.job_class!r}>"

    @property
    def _place(self) -> Place:
        return Place.held(self._store.keys, self.job_class)

    def _entry(self, found: Scored) -> HeldEntry:
        return HeldEntry(self._store, self.job_class, found)

    def release_all(
        self,
        match: Match[HeldEntry] | None = None,
        *,
        limit: int | None = None,
        progress: Told | None = None,
    ) -> Progress:
        """
        Let the jobs of which ``match`` says so go to their queues at once, without it all.

        The workers release them at a gentle pace by themselves once the switch is off;
        this is for some as a probe, or for who cannot wait. Arguments as
        ``delete_all``; what a switch still stops stays and is counted.
        """

        def release(page: Sequence[HeldEntry], done: Progress) -> None:
            raws = [entry.raw for entry in page]
            done.moved(moves.release(self._store, self.job_class, raws))

        return self._work_through(release, match, limit, progress)
