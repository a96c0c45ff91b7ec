"""Jobs that know where they lie, so that they can be taken from there."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from django_jobqueue import clock
from django_jobqueue.api import moves
from django_jobqueue.api.arguments import epoch
from django_jobqueue.api.records import JobRecord, moment
from django_jobqueue.client.results import EnqueueResult, Status
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.store.entries import Scored
from django_jobqueue.store.locks import lock_in
from django_jobqueue.store.removal import Place
from django_jobqueue.store.sets import LATER, Promotion
from django_jobqueue.store.store import Store

#: Seconds for which a job in a queue is near the place where it was read, or gone.
FRESH = 5.0

#: Score, dash, jid.
_KEY = re.compile(r"(-?(?:inf|\d+(?:\.\d+)?(?:e[+-]?\d+)?))-(.*)", re.DOTALL)


class Entry(JobRecord):
    """
    A job in a queue or a set.

    Every verb acts on just these bytes in just this place, and answers whether
    they were still there: a worker or another person may have been faster.
    Whatever removes a job frees the lock that it held, in the same script.
    Bytes that are no job can be shown, deleted and killed as any other.

    Raises, from every verb: StoreUnavailable, StoreFull, StoreRefused.
    """

    #: Where it stood in a list, as Redis counts: -1 is the next to run, 0 the last pushed.
    index: int | None = None

    def __init__(self, store: Store, place: Place, raw: bytes, queue: str = "") -> None:
        super().__init__(raw, queue)
        self._store = store
        self._place = place

    @property
    def place(self) -> str:
        """Where it stands, for people: ``queue 'low'``, ``schedule``, ``retry`` and so on."""
        raise NotImplementedError

    def delete(self) -> bool:
        """Remove the job for good; return whether it was there."""
        delete, mine = self._store.removal.delete, (self._place, [self.raw])
        return (delete(*mine, [self.index]) or (self._is_anywhere and delete(*mine))) == 1

    @property
    def _is_anywhere(self) -> bool:
        """Whether it may be there all the same where it is not found near its index."""
        return False

    def lock_owner(self) -> str | None:
        """Return the jid that holds the lock of this unique job, itself or another; or None."""
        digest = self.unique_digest
        return None if digest is None else self._store.locks.owners([digest]).get(digest)


class KillableEntry(Entry):
    """A job that is not dead yet."""

    def kill(self) -> bool:
        """
        Move the job to the dead set; return whether it was there.

        The signal ``job_died`` is sent afterwards, with a ``JobKilled``. The row of a
        job that a reconciler heals cools down, as after any death.
        """
        place, queue = self.place, self.queue
        mine = (self._place, [self.raw], lambda raw: moves.buried(raw, place, queue))
        kill = self._store.removal.kill
        killed = kill(*mine, [self.index]) or (self._is_anywhere and kill(*mine))
        if killed:
            moves.tell_killed(self.raw, place)
        return killed == 1


class QueueEntry(KillableEntry):
    """
    A job in a queue.

    ``index`` is where it stood when it was read: it is looked for around there, some seconds
    later and where nobody knows (None) everywhere, which costs the more the longer the queue is.
    """

    def __init__(self, store: Store, queue: str, raw: bytes, index: int | None = None) -> None:
        super().__init__(store, Place.queue(store.keys, queue), raw, queue)
        self.index = index
        self._read_at = clock.monotonic()

    @property
    def _is_anywhere(self) -> bool:
        return self.index is not None and clock.monotonic() - self._read_at > FRESH

    @property
    def place(self) -> str:
        """The queue, for people."""
        return f"queue {self.queue!r}"


class SortedEntry(Entry):
    """A job in a sorted set. ``score`` is epoch seconds; what it means depends on the set."""

    #: The name of the set: ``schedule``, ``retry`` or ``dead``.
    set_name = ""

    #: Whether ``reschedule`` gave it another time since it was read: ``score`` is the old one.
    is_rescheduled = False

    def __init__(self, store: Store, place: Place, entry: Scored) -> None:
        super().__init__(store, place, entry[0])
        self.score = entry[1]

    @property
    def at(self) -> datetime | None:
        """The score as a time; None for what no calendar has."""
        return moment(self.score)

    @property
    def key(self) -> str:
        """What ``get`` of its set finds it by: score, dash, jid, as in Sidekiq's addresses."""
        return f"{self.score!r}-{self.jid}"

    @property
    def place(self) -> str:
        """The set, for people."""
        return self.set_name

    def _facts(self) -> list[tuple[str, str]]:
        at = self.at
        return [*super()._facts(), ("at", str(self.score) if at is None else at.isoformat())]


class WaitingEntry(SortedEntry, KillableEntry):
    """A job that waits for a time: ``at`` is when it comes to its queue."""

    def enqueue_now(self) -> EnqueueResult:
        """
        Let the job go to its queue now (Sidekiq's ``add_to_queue``).

        As if its time had come: the client middleware is asked, and the kill
        switch. True only where it went; else it stays, and ``status`` and ``reason``
        say why: ``GONE``, ``DISABLED`` or ``REFUSED``.

        Raises: what a middleware raises; then it stays.
        """
        return self._enqueue(spares_attempt=False)

    def reschedule(self, when: datetime | timedelta | float) -> bool:
        """
        Let the job wait until another time; return whether it was there.

        ``when`` is a datetime (naive: in the current time zone), epoch seconds, or a
        timedelta from now. What is past is due at once. A unique job keeps its lock
        until then. By the clock of Redis, so it may be off by the way of a command.

        Raises: InvalidQuery.
        """
        delay = (
            when.total_seconds()
            if isinstance(when, timedelta)
            else epoch(when, "when") - clock.now()
        )
        later = Promotion(LATER, self.raw, self.raw, delay=delay, lock=lock_in(self.raw))
        moved, _ = self._store.sets.promote(self.set_name, [later])
        self.is_rescheduled = moved == 1
        return self.is_rescheduled

    def _enqueue(self, *, spares_attempt: bool) -> EnqueueResult:
        batch = moves.promote(self._store, self.set_name, [self.raw], spares_attempt=spares_attempt)
        return _told(batch, self)


class ScheduledEntry(WaitingEntry):
    """A job that runs later."""

    set_name = "schedule"


class RetryEntry(WaitingEntry):
    """A job that failed and is tried again."""

    set_name = "retry"

    def retry(self) -> EnqueueResult:
        """
        Try again now, and spend none of its retries on it, as Sidekiq counts.

        Answers and raises as ``enqueue_now``.
        """
        return self._enqueue(spares_attempt=True)


class DeadEntry(SortedEntry):
    """A job that failed for good, or was killed: ``at`` is when."""

    set_name = "dead"

    def retry(self) -> EnqueueResult:
        """
        Let the job run once more.

        It is an enqueue: the client middleware is asked, and the kill switch, and a
        unique job takes its lock again. The run spends none of its retries, as
        Sidekiq counts; where none was left, the next failure is its death again. Its
        row need not cool down any longer. Bytes that were no job go back to their queue
        as they came.

        True only where it went; else it stays dead, and ``status`` and ``reason`` say
        why: ``GONE``, ``DISABLED``, ``REFUSED``, or ``DUPLICATE`` where a newer job holds
        the lock (``existing_jid``).

        Raises: what a middleware raises; then it stays.
        """
        return _told(moves.revive(self._store, [self.raw]), self)


class HeldEntry(SortedEntry, KillableEntry):
    """A job that a kill switch holds: ``at`` is since when."""

    def __init__(self, store: Store, job_class: str, entry: Scored) -> None:
        super().__init__(store, Place.held(store.keys, job_class), entry)
        self._held_class = job_class

    @property
    def place(self) -> str:
        """The held set, for people."""
        return f"held {self._held_class}"

    @property
    def held_from(self) -> str | None:
        """Where the switch found it: ``queue``, ``schedule`` or ``retry``."""
        return None if self.payload is None else self.payload.held_from

    def release(self) -> EnqueueResult:
        """
        Let the job go to its queue now, past the pace of the release.

        True only where it went; else it stays, ``status`` is ``DISABLED`` while a
        switch stops it, or ``GONE``.
        """
        return _told(moves.release(self._store, self._held_class, [self.raw]), self)


def _told(batch: moves.Batch, entry: Entry) -> EnqueueResult:
    """Return what became of a page of one job. Raises: what kept it."""
    for fault in batch.faults.values():
        raise fault
    for stayed in batch.stayed:
        return stayed
    return moves.answer(Status.GONE if batch.gone else Status.PUSHED, entry.jid)


def split_key(key: object) -> tuple[float, str]:
    """Return the score and the jid out of an entry's key. Raises: InvalidQuery."""
    found = _KEY.fullmatch(key) if isinstance(key, str) else None
    if found is None:
        raise InvalidQuery("key", key, "give the key of an entry: its score, a dash and its jid")
    return float(found[1]), found[2]
