"""When an entry of PERIODIC or RECONCILERS is due: pure arithmetic on epoch seconds, UTC."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from typing import Any
from zlib import crc32
from zoneinfo import ZoneInfo

from cronsim import CronSim

#: What becomes of slots that nobody claimed in time.
RUN, SKIP, BACKFILL = "run", "skip", "backfill"

#: Slots that the nominal period of a cron expression is the mean of.
_SAMPLE = 12


@dataclass(frozen=True, slots=True)
class Timetable:
    """
    When one job is due, again and again: ``every`` so many seconds, or by a ``cron`` line.

    A slot is a moment when it is due, in whole epoch seconds, UTC. ``name`` is
    the key in PERIODIC, or the dotted path of a reconciler; ``job`` the dotted
    path of the class. Of slots that were missed ``"run"`` makes one run,
    ``"skip"`` none, and ``"backfill"`` one for each of the latest ``backfill``.

    A cron line is read in the zone ``tz``. Where the clock is put forward, a time
    that does not exist is due once, right after the gap; where it is put back, a
    time that comes twice is due the first time. A line with a ``*`` in its minutes
    or hours goes by the hours that pass, as in Debian's cron.
    """

    name: str
    job: str
    every: int | None = None
    cron: str | None = None
    tz: str = "UTC"
    args: tuple[Any, ...] = ()
    missed: str = RUN
    backfill: int = 0

    def next(self, after: float) -> int | None:
        """Return the first slot after a moment; None if there is none in the next 50 years."""
        if self.every is not None:
            return self._grid(after) + self.every
        slot = next(self._ahead(after), None)
        # Looking ahead CronSim misses some where the clock changes at midnight or by
        # half an hour; looking back it does not.
        while slot is not None and (earlier := self.latest(slot - 1) or 0) > after:
            slot = earlier
        return slot

    def latest(self, until: float) -> int | None:
        """Return the last slot at or before a moment; None if there was none in 50 years."""
        return next(self._back(until), None)

    def slots(self, after: float, until: float, limit: int) -> list[int]:
        """Return the slots after one moment up to another, ascending: the latest ``limit``."""
        found: list[int] = []
        for slot in islice(self._back(until), limit):
            if slot <= after:
                break
            found.append(slot)
        return found[::-1]

    @property
    def period(self) -> float:
        """Return the seconds between two slots; the mean of them for a cron line."""
        return float(self.every) if self.every is not None else _mean_period(self.cron or "")

    @property
    def words(self) -> str:
        """
        Return what a cron line says, in English: ``At 03:00 every day``.

        The line itself where that cannot be said, and for an ``every`` nothing.
        """
        if self.cron is None:
            return ""
        try:
            return CronSim(self.cron, _MONDAY).explain()
        except Exception:  # of the many forms of a line some may have no words
            return self.cron

    def _grid(self, moment: float) -> int:
        """Return the last slot at or before a moment, of those that are evenly spaced."""
        every = self.every or 1
        # Or fifty entries of a minute each would all be due at :00.
        phase = crc32(self.name.encode()) % every
        return (math.floor(moment) - phase) // every * every + phase

    def _back(self, until: float) -> Iterator[int]:
        """Yield slots from the last one at or before a moment on, ever earlier."""
        if self.every is not None:
            slot = self._grid(until)
            while True:
                yield slot
                slot -= self.every
        # One second later: where it begins is not part of what CronSim yields.
        local = self._local(math.floor(until) + 1)
        if local.fold:
            # A time of day is due the first time it comes: from within the second
            # time all of the repeated hour lies behind, and CronSim sees but the
            # face of the clock.
            first, second = local.replace(fold=0), local
            local = first + ((first.utcoffset() or _ZERO) - (second.utcoffset() or _ZERO))
        for found in CronSim(self.cron or "", local, reverse=True):
            slot = int(found.timestamp())
            if slot <= until:
                yield slot

    def _ahead(self, after: float) -> Iterator[int]:
        """Yield slots of a cron line after a moment."""
        for found in CronSim(self.cron or "", self._local(math.floor(after))):
            slot = int(found.timestamp())
            # Within the second of two equal hours CronSim yields the first once more.
            if slot > after:
                yield slot

    def _local(self, moment: int) -> datetime:
        return datetime.fromtimestamp(moment, ZoneInfo(self.tz))


_ZERO = timedelta(0)


@cache
def _mean_period(cron: str) -> float:
    # From any Monday, in UTC: the answer must not depend on when it is asked.
    slots = [each.timestamp() for each in islice(CronSim(cron, _MONDAY), _SAMPLE)]
    if len(slots) < 2:
        return 366 * 86_400.0
    return (slots[-1] - slots[0]) / (len(slots) - 1)


_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
