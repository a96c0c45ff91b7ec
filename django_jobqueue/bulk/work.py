"""Carry an order out: all of it here and now, or as far as one comes, with its record."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum

from django_jobqueue import clock
from django_jobqueue.api import arguments
from django_jobqueue.api.entries import Entry
from django_jobqueue.api.progress import Progress, Told
from django_jobqueue.bulk.order import Order
from django_jobqueue.bulk.places import Spot
from django_jobqueue.bulk.records import (
    DONE,
    FAILED,
    STOPPED,
    WAITING,
    Standing,
    check_id,
    ended,
    read_progress,
    standing,
    told,
)
from django_jobqueue.bulk.walk import Mark, Step, find, walk
from django_jobqueue.client.results import Status
from django_jobqueue.connection import store
from django_jobqueue.exceptions import InvalidQuery, StoreError
from django_jobqueue.payload import new_jid
from django_jobqueue.store.bulk import BUSY, GONE, OK, OVER, STOP
from django_jobqueue.store.entries import Scored

logger = logging.getLogger("django_jobqueue.bulk")

#: Seconds between two words about the progress; who wants to stop it waits as long.
EVERY = 0.5

#: Jobs of a queue from which on those that are meant are gathered, for Redis goes by all that
#: are ahead of them once for each time that some are taken out.
DEEP = 5_000

#: Seconds that a page may keep Redis busy without a rest for others; and of the longest rest.
BRISK, REST = 0.01, 0.25


class Outcome(Enum):
    """How the work at an order ended for now."""

    #: It is done, stopped or failed.
    OVER = "over"
    #: Who worked at it was to pause: it goes on where it was.
    PAUSED = "paused"
    #: Another works at it.
    BUSY = "busy"
    #: There is no such record any more.
    GONE = "gone"


def carry_out(order: Order, told: Told | None = None) -> Progress:
    """
    Do what an order says, here and now, and return what was done. No record is kept.

    A hundred jobs at a time. ``told`` is called after each with a Progress; what it raises
    ends it there, and what is done stays done.

    Raises: StoreUnavailable, StoreFull, StoreRefused.
    """
    site = _Site(order)
    done = Progress(total=site.size())
    for _, page in site.steps(None):
        site.work(page, done)
        if told is not None:
            told(done.copy())
    if site.flush(done) and told is not None:
        told(done.copy())
    logger.info("%s, by %s: %s", order, order.actor or "nobody", _summary(done))
    return done


def run_here(id: str, seconds: float) -> Standing:
    """
    Work at an order in this process for so many seconds, and return how it stands then.

    For where no worker does: call it again until it is over. Nothing is done while another
    works at it. A page of jobs that has begun is ended.

    Raises: InvalidQuery, also where the order is gone; StoreUnavailable, StoreFull, StoreRefused.
    """
    budget = arguments.seconds(seconds) or 0.0
    until: float | None = None

    def is_late() -> bool:
        # Asked first before anything is done: each call does something.
        nonlocal until
        if until is None:
            until = clock.monotonic() + budget
            return False
        return clock.monotonic() >= until

    run(check_id(id), f"here:{new_jid()}", is_late)
    found = standing(id)
    if found is None:
        raise InvalidQuery("id", id, "this order is gone: records are kept for some days")
    return found


def run(id: str, worker: str, halted: Callable[[], bool]) -> Outcome:
    """
    Work at an order until it is over or ``halted`` says so, which is asked between pages.

    ``worker`` is a token of whoever works: with the same it goes on at once, with another
    only when nobody else has told anything for a while.

    Raises: StoreUnavailable, StoreFull, StoreRefused; the order waits then.
    """
    records = store().bulk
    answer = records.begin(id, worker)
    if answer != OK:
        return _OUTCOMES[answer]
    try:
        order, done, mark = read_progress(id)
    except InvalidQuery as error:
        records.tell(id, worker, ended(FAILED, str(error)))
        return Outcome.OVER
    try:
        return _run(_Site(order), _Book(id, worker), done, mark, halted)
    except Exception as error:
        _leave(id, worker, error)
        raise


class _Site:
    """One order with what it needs: reads pages, and acts on those jobs that are meant."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._store = store()
        self._spot = Spot.of(order.place)
        hint = order.filter.hint
        self._hint = None if hint is None else hint.encode()
        #: Those that are meant and still stand in a queue, and how many are ahead of what is
        #: looked at next.
        self._gathered: list[Entry] = []
        self._ahead = 0

    def size(self) -> int:
        """Return how many jobs there are."""
        return self._store.removal.size(self._spot.place(self._store))

    def find(self, mark: Mark | None) -> Mark | None:
        """Return where to go on."""
        return find(self._store, self._spot, mark)

    def steps(self, mark: Mark | None) -> Iterator[Step]:
        """Yield pages."""
        return walk(self._store, self._spot, mark)

    def work(self, page: list[Scored], done: Progress) -> None:
        """Do what is ordered with those that are meant, some of them when ``flush`` says so."""
        meant = [entry for found in page if (entry := self._meant(found)) is not None]
        done.looked_at += len(page)
        done.matched += len(meant)
        if self._spot.kind != "queue":
            self._act(meant, done)
            return
        ahead, left = int(page[0][1]), 0
        # By as many as have left ahead of us, they have moved up.
        _move_up(self._gathered, self._ahead - ahead)
        if len(self._gathered) + len(meant) > arguments.PAGE:
            left = self.flush(done)
            _move_up(meant, left)
        self._ahead = ahead + len(page) - left
        self._gathered += meant
        if ahead < DEEP:
            self.flush(done)

    def flush(self, done: Progress) -> int:
        """Do it with those that were gathered; return how many have left."""
        gathered, self._gathered = self._gathered, []
        if not gathered:
            return 0
        began, before = clock.monotonic(), done.done
        self._act(gathered, done)
        took = clock.monotonic() - began
        if took > BRISK:
            time.sleep(min(took, REST))
        return done.done - before

    def _act(self, meant: list[Entry], done: Progress) -> None:
        if meant:
            self._spot.act(self._store, self.order.verb, meant, done)

    def _meant(self, found: Scored) -> Entry | None:
        # Most of a page need not be decoded where the bytes tell enough.
        if self._hint is not None and self._hint not in found[0]:
            return None
        entry = self._spot.entry(self._store, found)
        return entry if self.order.means(entry) else None


def _move_up(entries: list[Entry], count: int) -> None:
    for entry in entries:
        entry.index = min(-1, (entry.index or -1) + count)


class _Book:
    """The record of one order, written at most twice a second."""

    def __init__(self, id: str, worker: str) -> None:
        self.id = id
        self._worker = worker
        self._records = store().bulk
        self._told_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether it was told long ago how far it has come."""
        return clock.monotonic() - self._told_at >= EVERY

    def progress(self, done: Progress, mark: Mark | None) -> str:
        """Tell how far it has come; return ``OK``, or what else is."""
        self._told_at = clock.monotonic()
        return self._records.tell(self.id, self._worker, told(done, mark))

    def end(self, state: str, done: Progress, mark: Mark | None = None) -> str:
        """Tell the last word, and work at it no longer."""
        fields = {**told(done, mark), **ended(state)}
        return self._records.tell(self.id, self._worker, fields)


def _run(
    site: _Site, book: _Book, done: Progress, mark: Mark | None, halted: Callable[[], bool]
) -> Outcome:
    start = site.find(mark)
    if start is None:
        done = _anew(done, site.size())
    for at, page in site.steps(start):
        answer = OK
        if book.is_due:
            site.flush(done)  # whoever goes on at the mark meets none of them
            answer = book.progress(done, at)
        if answer == STOP:
            answer = book.end(STOPPED, done)
            _log(site.order, STOPPED, done)
        elif answer == OK and halted():
            site.flush(done)
            return _OUTCOMES[book.end(WAITING, done, at)]
        if answer != OK:
            return _OUTCOMES[answer]
        site.work(page, done)
    site.flush(done)
    _log(site.order, DONE, done)
    book.end(DONE, done)
    return Outcome.OVER


#: What an answer of a record means to who lets go of it.
_OUTCOMES = {
    OK: Outcome.PAUSED, OVER: Outcome.OVER, STOP: Outcome.OVER, BUSY: Outcome.BUSY,
    GONE: Outcome.GONE,
}  # fmt: skip


def _anew(done: Progress, size: int) -> Progress:
    """Return what to count on from where all is looked at once more: those that have left."""
    left = done.done + done.gone
    return Progress(
        total=left + size,
        looked_at=left,
        matched=left,
        done=done.done,
        stayed=Counter({Status.GONE: done.gone}),
    )


def _leave(id: str, worker: str, error: Exception) -> None:
    try:
        store().bulk.note(id, worker, ended(WAITING, f"{type(error).__name__}: {error}"))
    except StoreError:
        # What is wrong is most likely this; who is silent is taken for dead soon.
        logger.debug("the record of %s cannot be written", id, exc_info=True)


def _log(order: Order, state: str, done: Progress) -> None:
    logger.info("%s, by %s, %s: %s", order, order.actor or "nobody", state, _summary(done))


def _summary(done: Progress) -> str:
    stayed = done.disabled + done.refused + done.duplicates + done.failed
    return f"{done.matched:,} of {done.looked_at:,} jobs, {done.done:,} done, {stayed:,} stayed"
