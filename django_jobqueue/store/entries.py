"""The entries of the sorted sets, whichever they are: by rank, by time, one after another."""

from __future__ import annotations

from collections.abc import Sequence

from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link, scored
from django_jobqueue.store.removal import Place

#: An entry and its score (epoch seconds).
Scored = tuple[bytes, float]


class Entries:
    """
    Read ``schedule``, ``retry``, ``dead`` and what is held, a page at a time.

    No call takes longer the larger the set is, but for the logarithm. Places
    are those of ``Place`` that are no queue.
    """

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def page(
        self, place: Place, start: int, count: int, *, newest_first: bool = False
    ) -> list[Scored]:
        """Return ``count`` entries from a rank on (0 is the first), with their scores."""
        command = "ZREVRANGE" if newest_first else "ZRANGE"
        return scored(self._link.call(command, place.key, start, start + count - 1, "WITHSCORES"))

    def windows(self, place: Place, spans: Sequence[tuple[int, int]]) -> list[Scored]:
        """Return what stands in several places, each a rank and a count, in one round trip."""
        pages = self._link.pipeline(
            [
                ("ZRANGE", place.key, start, start + count - 1, "WITHSCORES")
                for start, count in spans
            ]
        )
        return [entry for page in pages for entry in scored(page)]

    def after(self, place: Place, last: Scored, count: int) -> list[Scored]:
        """
        Return the entries that follow one, the earliest first.

        It may be gone, or have another score by now: they follow the place where
        it was. So whoever reads on while entries leave passes over none.
        """
        member, score = last
        rank, found = self._link.pipeline(
            [("ZRANK", place.key, member), ("ZSCORE", place.key, member)]
        )
        if rank is not None and found == score:
            return self.page(place, rank + 1, count)
        page = scored(
            self._link.call(
                *("ZRANGEBYSCORE", place.key, repr(score), "+inf"),
                *("WITHSCORES", "LIMIT", 0, count),
            )
        )
        fresh = [each for each in page if _is_behind(each, last)]
        if fresh or len(page) < count:
            return fresh
        while True:  # many have its score, as a bulk has for one time
            rank = self._rank_behind(place, last)
            # With the one before it, which shows that nobody has left since and moved them up.
            page = self.page(place, max(0, rank - 1), count + 1)
            fresh = [each for each in page if _is_behind(each, last)]
            is_sure = rank == 0 or len(fresh) < len(page)
            if is_sure and (fresh or len(page) <= count):
                return fresh[:count]

    def _rank_behind(self, place: Place, last: Scored) -> int:
        """Return the rank of the first entry behind the place where one was, found by halves."""
        low, high = self.ranks(place, last[1], last[1])
        while low < high:
            middle = (low + high) // 2
            found = self.page(place, middle, 1)
            if found and not _is_behind(found[0], last):
                low = middle + 1
            else:
                high = middle
        return low

    def last_score(self, place: Place) -> float | None:
        """Return the highest score, None of an empty set."""
        found = self.page(place, 0, 1, newest_first=True)
        return found[0][1] if found else None

    def ranks(self, place: Place, since: float, until: float) -> tuple[int, int]:
        """Return the rank of the first entry from ``since`` on, and of that after ``until``."""
        before, within = self._link.pipeline(
            [
                ("ZCOUNT", place.key, "-inf", f"({since!r}"),
                ("ZCOUNT", place.key, "-inf", repr(until)),
            ]
        )
        return before, max(before, within)

    def range(
        self, place: Place, since: float, until: float, passed: int, count: int
    ) -> list[Scored]:
        """
        Return ``count`` entries with a score in a range, both ends included, the earliest first.

        Those behind the first ``passed`` of them. In one round trip where that is 0, else
        in two, as fast at any depth.
        """
        if passed == 0:
            return scored(
                self._link.call(
                    *("ZRANGEBYSCORE", place.key, repr(since), repr(until)),
                    *("WITHSCORES", "LIMIT", 0, count),
                )
            )
        first, behind = self.ranks(place, since, until)
        count = min(count, behind - first - passed)
        return self.page(place, first + passed, count) if count > 0 else []

    def scan(
        self, place: Place, cursor: int, text: str | None, count: int
    ) -> tuple[int, list[Scored]]:
        """
        Look at some ``count`` entries; return where to go on (0: that was all) and those found.

        Found is what contains ``text``, or everything where it is None. An entry
        may come twice; one that is there all the time comes at least once.
        """
        match = () if text is None else ("MATCH", f"*{_literally(text)}*")
        cursor, found = self._link.call("ZSCAN", place.key, cursor, *match, "COUNT", count)
        return cursor, [(raw, float(score)) for raw, score in found]


def _is_behind(entry: Scored, other: Scored) -> bool:
    """Return whether an entry comes after another: of equal scores the order is that of bytes."""
    return (entry[1], entry[0]) > (other[1], other[0])


def _literally(text: str) -> str:
    """Return the pattern that matches a text and nothing else."""
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in text)
