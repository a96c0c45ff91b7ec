"""How many jobs the kill switches stopped, by class and minute: what an incident is judged by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

from django_jobqueue import clock
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link

#: What is counted: pushes that were refused, accepted jobs that were held or dropped.
REFUSED, HELD, DROPPED = "refused", "held", "dropped"

#: Seconds that the counts of a minute are kept.
KEPT = 8 * 3_600


class Tally:
    """Count stopped jobs, and look at the last hours."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def add(self, what: str, counts: Mapping[str, int]) -> None:
        """Count jobs by the wire name of their class, in one round trip; also in the totals."""
        if not counts:
            return
        key = self._keys.tally(minute_of(clock.now()))
        # A full Redis refuses all of it, and who counts again does not count twice.
        self._link.pipeline(
            [
                *(("HINCRBY", key, f"{name}|{what}", count) for name, count in counts.items()),
                ("EXPIRE", key, KEPT),
                ("HINCRBY", self._keys.counters, what, sum(counts.values())),
            ],
            atomic=True,
        )

    def last(self, minutes: int = 60) -> dict[str, Counter[str]]:
        """Return what was counted in the last minutes, this one included, by class."""
        sums: dict[str, Counter[str]] = {}
        for _, counts in self.by_minute(minutes):
            for name, count in counts.items():
                sums.setdefault(name, Counter()).update(count)
        return sums

    def by_minute(self, minutes: int = 60) -> list[tuple[float, dict[str, Counter[str]]]]:
        """
        Return what was counted in each of the last minutes, this one first, by class.

        Each minute with its beginning in epoch seconds. At most those that are kept.
        """
        now = clock.now()
        begun = [now // 60 * 60 - 60 * ago for ago in range(min(minutes, KEPT // 60))]
        found = self._link.pipeline([("HGETALL", self._keys.tally(minute_of(at))) for at in begun])
        return [(at, by_class(counts)) for at, counts in zip(begun, found, strict=True)]


def by_class(fields: Mapping[bytes, bytes]) -> dict[str, Counter[str]]:
    """Return what was stopped of each class, out of the hash of a minute."""
    found: dict[str, Counter[str]] = {}
    for field, count in fields.items():
        name, _, what = field.decode(errors="replace").rpartition("|")
        if count.isdigit():  # else others wrote it
            found.setdefault(name, Counter())[what] += int(count)
    return found


def minute_of(at: float) -> str:
    """Return the minute of a moment (epoch s) as it stands in the key of its counts."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%d%H%M")
