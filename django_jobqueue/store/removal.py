"""Take jobs out of where they wait because an operator says so, and their locks with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link, Word
from django_jobqueue.store.locks import ENDS, NEITHER, lock_in, lock_words

#: Jobs that one script removes.
PAGE = 100

#: Entries of a list by which a script looks around where a job was, and those that are read to
#: find a page again that has moved further.
MARGIN = 100
STEPS = 10
STEP = 1_000
STEP_BYTES = 4_000_000

#: Where each job stood in a list a moment ago, as LINDEX counts: -1 is the next to run, 0 the
#: last pushed. None where nobody knows: then all is compared.
Indexes = Sequence[int | None]


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

    def delete(self, place: Place, entries: Sequence[bytes], indexes: Indexes = ()) -> int:
        """
        Remove these entries for good and free their locks; return how many were there.

        ``indexes`` tells of a list where each stood, so that it need not be searched for.
        """
        return self._remove(place, entries, indexes, "delete", lambda raw: (b"", NEITHER))

    def kill(
        self,
        place: Place,
        entries: Sequence[bytes],
        bury: Callable[[bytes], tuple[bytes, float]],
        indexes: Indexes = (),
    ) -> int:
        """
        Move these entries to the dead set and free their locks; return how many were there.

        ``bury`` returns what is written for an entry, and the cool-down of its
        row in seconds (0 for none); it may be asked again for the same entry.
        ``indexes`` as for ``delete``.
        """
        if place.key == self._keys.dead:
            return 0
        return self._remove(place, entries, indexes, "kill", bury)

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
            removed += self.delete(place, page, range(-1, -len(page) - 1, -1))
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
        indexes: Indexes,
        verb: str,
        bury: Callable[[bytes], tuple[bytes, float]],
    ) -> int:
        removed = at = 0
        indexes = (indexes or [None] * len(entries)) if place.is_list else [None] * len(entries)
        is_sought = False
        while at < len(entries):
            names = [place.key, self._keys.dead]
            arguments: list[Word] = ["list" if place.is_list else "zset", verb, *self._dead_limits]
            page = entries[at : at + PAGE]
            for raw, index in zip(page, indexes[at : at + PAGE], strict=True):
                dead, cooldown = bury(raw)
                lock = lock_words(
                    self._keys, names, lock_in(raw), ttl=ENDS, cooldown=cooldown or NEITHER
                )
                arguments += (raw, dead, *lock, "" if index is None else index)
            # In a long list it looks at fewer, so that nobody waits for it.
            looked_at, gone = self._link.script("remove", names, arguments)
            if not gone and not is_sought and any(each is not None for each in indexes):
                # Gone, all of them; or so many have left since that they stand elsewhere.
                is_sought = True
                found = self._found_again(place, entries[at:], indexes[at:])
                if found is not None:
                    entries, indexes, at = entries[at:], found, 0
                    continue
            at += looked_at
            removed += gone
        return removed

    def _found_again(
        self, place: Place, entries: Sequence[bytes], indexes: Indexes
    ) -> Indexes | None:
        """
        Return where jobs are that have all moved, None where none of a page is there.

        Only near the place where they were: it is read in steps that are soon done.
        """
        length = self.size(place)
        places = [
            index - length if index is not None and index >= 0 else index for index in indexes
        ]
        told = {
            raw: index
            for raw, index in zip(entries[:PAGE], places[:PAGE], strict=True)
            if index is not None
        }
        if not told or min(told.values()) >= -MARGIN:
            return None  # a script that looks around them sees the end
        middle = sum(told.values()) // len(told)
        step = max(10, min(STEP, STEP_BYTES // max(map(len, told))))
        steps = [first for n in range(STEPS) for first in (n * step, -(n + 1) * step)]
        for first in (middle + away for away in steps):
            last = min(first + step - 1, -1)
            if first > -1 or last < -length:
                continue
            start = max(first, -length)
            found: list[bytes] = self._link.call("LRANGE", place.key, start, last)
            for at, raw in enumerate(found, start):
                if raw in told:
                    by = at - told[raw]
                    return [each if each is None else min(each + by, -1) for each in places]
        return None


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
