"""The locks of unique jobs, as people see them: who holds one, and whether he is still there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django_jobqueue import clock, connection
from django_jobqueue.api.arguments import MOST, PAGE, page_count, position, seconds, text
from django_jobqueue.exceptions import InvalidPayload, InvalidQuery, StoreRefused
from django_jobqueue.payload import Payload, is_digest, printable
from django_jobqueue.store.store import Store

#: Seconds that a look takes where nothing is said.
GLANCE = 0.25

#: A jid in the bytes of a payload, also one in its arguments; of the longest, all in escapes.
_JID = re.compile(rb'"jid"\s*+:\s*+"((?:[^"\\]|\\.){1,768}+)"')


class Lock:
    """
    The lock of a unique job, as it was when it was read.

    ``digest`` names it, ``jid`` is the job that holds it, ``ttl`` the seconds that were left
    of it; None for one that has no end, as a held job's.
    """

    def __init__(self, store: Store, digest: str, jid: str, ttl: float | None) -> None:
        self._store = store
        self.digest = digest
        self.jid = jid
        self.ttl = ttl

    def __repr__(self) -> str:
        return f"<Lock {self.digest} jid={printable(self.jid)}>"

    def release(self) -> bool:
        """
        Let another job with these arguments be enqueued; return whether the lock was there.

        And still of the job ``jid``: one that a newer job has taken meanwhile is left alone. The
        holder, where it still is on its way, runs all the same, and so may run beside a newer
        one. What is noted to run after it (``on_conflict = "rerun"``) stays noted.

        Raises: StoreUnavailable, StoreFull, StoreRefused.
        """
        return self._store.locks.release(self.digest, self.jid)


@dataclass(frozen=True, slots=True)
class LockPage:
    """
    Some ``locks``, in no order; ``cursor`` is where to go on, None where all was looked at.

    ``looked_at`` counts the keys of the server that were looked at, about.
    """

    locks: list[Lock]
    cursor: int | None
    looked_at: int


@dataclass(frozen=True, slots=True)
class Holders:
    """
    Where the jobs are that hold some locks.

    ``found`` maps jids to places: ``schedule``, ``queue:NAME``, ``process:IDENTITY`` for a job
    that runs or is about to, ``retry``, ``held:CLASS``. ``gone`` are the jids whose lock was
    given up or taken by another while it was looked for them. ``complete`` tells whether all
    was read.
    """

    found: dict[str, str]
    gone: frozenset[str]
    complete: bool

    def lacks(self, lock: Lock) -> bool:
        """Return whether the job that holds a lock is nowhere any more; False if not known."""
        return self.complete and lock.jid not in self.found and lock.jid not in self.gone


class LockSet:
    """
    The locks of unique jobs that are held.

    Redis has no list of them, so they are looked for among all keys of the server, within a
    budget. Making one costs nothing and asks nobody. ``store`` is another Redis than the
    settings'.

    Raises, from every call: StoreUnavailable, StoreFull, StoreRefused.
    """

    def __init__(self, *, store: Store | None = None) -> None:
        self._given = store

    @property
    def _store(self) -> Store:
        return connection.store() if self._given is None else self._given

    def page(
        self, cursor: int = 0, count: int = PAGE, *, budget: float | None = GLANCE
    ) -> LockPage:
        """
        Return about ``count`` locks (1,000 at most), in no order; one may come twice.

        Fewer where ``budget`` seconds (None: no end) were over before so many were met. Go on
        with the ``cursor`` of what is returned, until that is None.

        Raises: InvalidQuery.
        """
        store, count, limit = self._store, page_count(count), seconds(budget)
        ahead: int = position(cursor, "cursor")
        began, looked_at = clock.monotonic(), 0
        digests: dict[str, None] = {}
        while True:
            step = _step(count - len(digests), looked_at, len(digests))
            ahead, found = store.locks.scan(ahead, step)
            looked_at += step
            digests |= dict.fromkeys(filter(is_digest, found))
            is_over = limit is not None and clock.monotonic() - began >= limit
            if not ahead or len(digests) >= count or is_over:
                break
        locks = [Lock(store, *each) for each in store.locks.read(list(digests))]
        return LockPage(locks, ahead or None, looked_at)

    def get(self, digest: str) -> Lock | None:
        """Return one lock, or None where nobody holds it. Raises: InvalidQuery."""
        if not is_digest(text(digest, "digest")):
            raise InvalidQuery("digest", digest, "give 32 hex digits, as a unique job has them")
        store = self._store
        return next((Lock(store, *each) for each in store.locks.read([digest])), None)

    def holders(self, locks: Iterable[Lock], *, budget: float | None = GLANCE) -> Holders:
        """
        Look for the jobs that hold these locks, everywhere but in the dead set.

        All places are read, once and once again for those that were not met, for a job may
        move from one to another meanwhile; until all are found or ``budget`` seconds (None: no
        end) are over.

        Raises: InvalidQuery.
        """
        store, limit = self._store, seconds(budget)
        began, asked = clock.monotonic(), list(locks)
        missing = {lock.jid for lock in asked}
        found: dict[str, str] = {}
        complete = True
        for _ in range(2):
            for place, page in _everything(store) if missing else ():
                if page is None:
                    complete = False  # it has a wrong type, and nobody can read it
                    continue
                for jid in _met(page, missing):
                    found[jid] = place
                    missing.discard(jid)
                is_over = limit is not None and clock.monotonic() - began >= limit
                if is_over or not missing:
                    return Holders(found, self._gone(asked, missing), not missing)
        return Holders(found, self._gone(asked, missing), complete or not missing)

    def _gone(self, locks: Sequence[Lock], missing: set[str]) -> frozenset[str]:
        """Return those of the missing whose lock is not theirs any more."""
        held = {lock.digest: lock.jid for lock in locks if lock.jid in missing}
        owners = self._store.locks.owners(held)
        return frozenset(jid for digest, jid in held.items() if owners.get(digest) != jid)


def _step(wanted: int, looked_at: int, met: int) -> int:
    """Return how many keys to look at for so many locks: there are more where they are rare."""
    if not looked_at:
        return wanted
    return max(10, min(MOST, wanted * looked_at // max(1, met)))


def _everything(store: Store) -> Iterator[tuple[str, list[bytes] | None]]:
    """Yield what stands everywhere, a page at a time; None in place of what cannot be read."""
    try:
        for place, pages in store.survey.places():
            try:
                for page in pages:
                    yield place, page
            except StoreRefused:
                yield place, None
    except StoreRefused:  # the list of them
        yield "", None


def _met(page: Sequence[bytes], wanted: set[str]) -> set[str]:
    """Return those of the jids whose jobs are in a page."""
    sought = {jid.encode(errors="surrogatepass") for jid in wanted}
    met = set()
    for raw in page:
        # JSON can write one in several ways; who has no escapes has the one that is sought.
        may_be = any(jid in sought or b"\\" in jid for jid in _JID.findall(raw))
        if may_be and (jid := _jid(raw)) in wanted:
            met.add(jid)
    return met


def _jid(raw: bytes) -> str:
    try:
        return Payload.decode(raw).jid
    except InvalidPayload:
        return ""
