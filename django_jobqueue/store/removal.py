"""Take jobs out of where they wait because an operator says so, and their locks with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link, Word
from django_jobqueue.store.locks import ENDS, NEITHER, lock_in, lock_words

#: Jobs that one script removes.
PAGE = 100


class Removal:
    """
    Delete and kill jobs in a queue, in a sorted set, or among the held.

    A place is a key with its type: see ``queue``, ``sorted_set`` and ``held``
    of ``Place``. A job that somebody else has moved meanwhile is left alone.
    """

    def __init__(self, link: Link, keys: Keys, *, dead_entries: int, dead_age: float) -> None:
        self._link = link
        self._keys = keys
        self._dead_limits = (dead_entries, dead_age)

    def delete(self, place: Place, entries: Sequence[bytes]) -> int:
        """Remove these entries for good and free their locks; return how many were there."""
        return self._remove(place, entries, "delete", lambda raw: (b"", NEITHER))

    def kill(
        self,
        place: Place,
        entries: Sequence[bytes],
        bury: Callable[[bytes], tuple[bytes, float]],
    ) -> int:
        """
        Move these entries to the dead set and free their locks; return how many were there.

        ``bury`` returns what is written for an entry, and the cool-down of its
        row in seconds (0 for none); it may be asked again for the same entry.
        """
        if place.key == self._keys.dead:
            return 0
        return self._remove(place, entries, "kill", bury)

    def clear(self, place: Place, told: Callable[[int, int], None] | None = None) -> int:
        """
        Remove everything that stands there now, 100 jobs at a time; return how many.

        Jobs that are pushed meanwhile stay. ``told`` is called after each page with
        how many were removed so far, and how many are left; what it raises ends it.
        """
        left = self.size(place)
        removed = 0
        while left > 0:
            page = self.page(place, min(left, PAGE))
            if not page:
                break
            left -= len(page)
            removed += self.delete(place, page)
            if told is not None:
                told(removed, left)
        return removed

    def size(self, place: Place) -> int:
        """Return how many jobs stand there."""
        count: int = self._link.call("LLEN" if place.is_list else "ZCARD", place.key)
        return count

    def page(self, place: Place, count: int) -> list[bytes]:
        """Return up to ``count`` entries, the next to run first."""
        if place.is_list:
            found: list[bytes] = self._link.call("LRANGE", place.key, -count, -1)
            return found[::-1]
        entries: list[bytes] = self._link.call("ZRANGE", place.key, 0, count - 1)
        return entries

    def _remove(
        self,
        place: Place,
        entries: Sequence[bytes],
        verb: str,
        bury: Callable[[bytes], tuple[bytes, float]],
    ) -> int:
        removed = at = 0
        while at < len(entries):
            names = [place.key, self._keys.dead]
            arguments: list[Word] = ["list" if place.is_list else "zset", verb, *self._dead_limits]
            for raw in entries[at : at + PAGE]:
                dead, cooldown = bury(raw)
                lock = lock_words(
                    self._keys, names, lock_in(raw), ttl=ENDS, cooldown=cooldown or NEITHER
                )
                arguments += (raw, dead, *lock)
            # In a long list it looks at fewer, so that nobody waits for it.
            looked_at, gone = self._link.script("remove", names, arguments)
            at += looked_at
            removed += gone
        return removed


class Place:
    """One key where jobs wait, and whether it is a list or a sorted set."""

    __slots__ = ("is_list", "key")

    def __init__(self, key: str, *, is_list: bool) -> None:
        self.key = key
        self.is_list = is_list

    @classmethod
    def queue(cls, keys: Keys, name: str) -> Place:
        """A queue."""
        return cls(keys.queue(name), is_list=True)

    @classmethod
    def sorted_set(cls, keys: Keys, name: str) -> Place:
        """``schedule``, ``retry`` or ``dead``."""
        return cls(keys.sorted_set(name), is_list=False)

    @classmethod
    def held(cls, keys: Keys, job_class: str) -> Place:
        """What a kill switch holds of one class."""
        return cls(keys.held(job_class), is_list=False)
