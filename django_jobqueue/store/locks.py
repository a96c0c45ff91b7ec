"""The locks of unique jobs: who is on the way already, and which rows had better wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django_jobqueue.exceptions import InvalidPayload
from django_jobqueue.payload import TIME_LIMIT, Payload
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link, Word

#: Locks that one script renews, and digests asked for in one round trip.
PAGE = 100
ASKED = 1000

#: Milliseconds in place of a lock's ttl: the job ends, or is held without an end.
ENDS, HELD = 0, -1

#: What Redis says of the life of a key that is not there.
GONE = -2

#: In place of a cool-down: the job succeeded, or neither succeeded nor died.
SUCCEEDED, NEITHER = 0.0, -1.0


@dataclass(slots=True)  # not frozen: that would take three times as long to make
class Lock:
    """
    The lock of one unique job.

    ``ttl`` in seconds is how long it outlives the next move of the job;
    ``rerun`` whether a duplicate that comes while the job runs is run after it.
    """

    digest: str
    jid: str
    ttl: float
    rerun: bool = False


@dataclass(frozen=True, slots=True)
class Tombstone:
    """How often the job of a row died in a row, and until when nobody heals it (epoch s)."""

    deaths: int
    until: float


#: What marks the field ``unique_digest`` in the bytes of a payload.
_UNIQUE = b'"unique_digest":'


def may_be_unique(raw: bytes) -> bool:
    """Return whether a payload seems to hold a lock, without decoding it."""
    return _UNIQUE in raw


def lock_of(payload: Payload) -> Lock | None:
    """Return the lock that a job holds, or None when it is not unique."""
    if "unique_digest" not in payload.fields:
        return None
    digest = payload.unique_digest
    if digest is None or (ttl := payload.unique_for) is None:
        return None
    return Lock(digest, payload.jid, ttl, payload.reruns)


def lock_in(raw: bytes) -> Lock | None:
    """Return the lock that the job in these bytes holds, or None."""
    if not may_be_unique(raw):
        return None
    try:
        return lock_of(Payload.decode(raw))
    except InvalidPayload:
        return None


class Locks:
    """Look at the locks, renew them, and give them up at a job's start."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def start(self, lock: Lock, *, release: bool) -> bool:
        """
        Note that a job starts: duplicates that came before are forgotten.

        With ``release`` the lock ends here. Returns whether it was the job's own.
        """
        keys = self._keys
        return bool(
            self._link.script(
                "start",
                [keys.unique(lock.digest), keys.rerun(lock.digest)],
                [lock.jid, int(release)],
            )
        )

    def renew(self, locks: Sequence[Lock]) -> int:
        """
        Renew the locks of jobs that run; return how many are the jobs' own.

        One that is gone is not taken again: the job may have ended meanwhile.
        """
        ours = 0
        for first in range(0, len(locks), PAGE):
            page = locks[first : first + PAGE]
            keys: list[str] = []
            arguments: list[Word] = []
            for lock in page:
                keys += (self._keys.unique(lock.digest), self._keys.rerun(lock.digest))
                arguments += (lock.jid, milliseconds(lock.ttl))
            ours += self._link.script("renew", keys, arguments)
        return ours

    def release(self, digest: str, jid: str) -> bool:
        """Give up a lock because somebody said so; return whether it was still that job's."""
        return bool(self._link.script("unlock", [self._keys.unique(digest)], [jid]))

    def scan(self, cursor: int, count: int) -> tuple[int, list[str]]:
        """
        Look at some ``count`` keys of the server; return where to go on (0: that was all).

        And the digests of the locks among them; one may come twice.
        """
        cursor, names = self._link.call(
            "SCAN", cursor, "MATCH", self._keys.all_locks, "COUNT", count
        )
        return cursor, [self._keys.digest_of(name) for name in names]

    def read(self, digests: Sequence[str]) -> list[tuple[str, str, float | None]]:
        """
        Return digest, jid of the holder, and seconds left of those of the locks that are held.

        None for one without an end. A key of a wrong type is no lock.
        """
        found: list[tuple[str, str, float | None]] = []
        for page in _pages(digests):
            names = [self._keys.unique(digest) for digest in page]
            owners, *lives = self._link.pipeline(
                [("MGET", *names), *(("PTTL", name) for name in names)]
            )
            for digest, owner, life in zip(page, owners, lives, strict=True):
                if owner is not None and life != GONE:
                    left = None if life < 0 else life / 1000
                    found.append((digest, owner.decode(errors="replace"), left))
        return found

    def owners(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the jid that holds each lock, of those that are held."""
        found: dict[str, str] = {}
        for page in _pages(digests):
            owners = self._link.call("MGET", *map(self._keys.unique, page))
            found |= {
                digest: owner.decode(errors="replace")
                for digest, owner in zip(page, owners, strict=True)
                if owner is not None
            }
        return found

    def tombstones(self, digests: Iterable[str]) -> dict[str, Tombstone]:
        """Return the tombstones that stand, over or not, by digest."""
        found: dict[str, Tombstone] = {}
        for page in _pages(digests):
            replies: list[Mapping[bytes, bytes]] = self._link.pipeline(
                [("HGETALL", self._keys.tombstone(digest)) for digest in page]
            )
            for digest, facts in zip(page, replies, strict=True):
                if facts:
                    until = float(facts.get(b"until", 0)) / 1000
                    found[digest] = Tombstone(int(facts.get(b"deaths", 0)), until)
        return found

    def clear_tombstone(self, digest: str) -> bool:
        """Let a row be healed at once; return whether it had to wait."""
        return bool(self._link.call("DEL", self._keys.tombstone(digest)))


def lock_keys(keys: Keys, lock: Lock) -> list[str]:
    """Return the three keys that the scripts know a lock by (see lua/lib/locks.lua)."""
    return [keys.unique(lock.digest), keys.tombstone(lock.digest), keys.rerun(lock.digest)]


def lock_words(
    keys: Keys,
    names: list[str],
    lock: Lock | None,
    *,
    ttl: float,
    cooldown: float = NEITHER,
    queue: int = 0,
) -> tuple[Word, ...]:
    """
    Return the five values that a script takes of a lock, and add its keys to ``names``.

    ``ttl`` in seconds from now, ``ENDS`` or ``HELD``; ``cooldown`` in seconds, ``SUCCEEDED`` or
    ``NEITHER``; ``queue`` the index (from 1) in ``names`` of the queue for a rerun.
    """
    if lock is None:
        return (0, "", 0, 0, 0)
    names += lock_keys(keys, lock)
    lasts = milliseconds(ttl) if ttl > 0 else int(ttl)
    cool = milliseconds(cooldown) if cooldown > 0 else int(cooldown)
    return (len(names) - 2, lock.jid, lasts, cool, queue)


def milliseconds(seconds: float) -> int:
    """Return a length of time that Redis takes for the life of a key, whatever a payload says."""
    return max(1, int(min(seconds, TIME_LIMIT) * 1000))


def _pages(digests: Iterable[str]) -> Iterable[list[str]]:
    page: list[str] = []
    for digest in digests:
        page.append(digest)
        if len(page) == ASKED:
            yield page
            page = []
    if page:
        yield page
