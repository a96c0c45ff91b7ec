"""What runs again and again: periodic jobs and reconcilers with their times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django_jobqueue import clock
from django_jobqueue.conf import get_settings
from django_jobqueue.models import Schedule
from django_jobqueue.reports.moments import moment, now
from django_jobqueue.reports.plain import Plain
from django_jobqueue.scheduling import slots
from django_jobqueue.timetable import Timetable

#: Times to come that are told.
AHEAD = 3

#: Lengths of time in seconds, the longest first.
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))

#: The kinds of timetables.
PERIODIC, RECONCILER = "periodic", "reconciler"


@dataclass(frozen=True, slots=True)
class ScheduleFacts(Plain):
    """
    One timetable: ``name`` is a key of PERIODIC, or the dotted path of a reconciler.

    ``kind`` is "periodic" or "reconciler" and ``job`` the dotted path of the class. It is due
    ``every`` so many seconds, or by the line ``cron`` in the zone ``tz``, which says ``words``
    in English (the line itself where there are none); ``when`` is either as a text. ``last`` is
    the slot that was claimed last, None for a new timetable and one that was resumed.
    ``upcoming`` are the next three slots in that zone, none while it is ``paused``. ``unpushed``
    means that a slot was claimed and its job is not in Redis: it is about to be, or Redis is
    away.
    """

    name: str
    kind: str
    job: str
    when: str
    every: int | None
    cron: str | None
    tz: str
    words: str
    next: datetime | None
    upcoming: tuple[datetime, ...]
    last: datetime | None
    paused: bool
    unpushed: bool

    @property
    def period(self) -> str:
        """How long ``every`` is, in the largest unit that fits: ``90 s``, ``5 min``."""
        for length, unit in _UNITS:
            if self.every and self.every % length == 0:
                return f"{self.every // length} {unit}"
        return ""


@dataclass(frozen=True, slots=True)
class Schedules(Plain):
    """All timetables, in the order of the settings, periodic jobs first."""

    at: datetime
    schedules: tuple[ScheduleFacts, ...]


def schedules() -> Schedules:
    """Return everything that has a timetable. Redis is not asked."""
    settings = get_settings()
    listed = [
        *((PERIODIC, entry) for entry in settings.periodic),
        *((RECONCILER, entry) for entry in settings.reconcilers),
    ]
    rows = slots.rows(entry.name for _, entry in listed)
    return Schedules(now(), tuple(facts_of(k, e, rows.get(e.name)) for k, e in listed))


def facts_of(kind: str, entry: Timetable, row: Schedule | None) -> ScheduleFacts:
    """Return what is reported of a timetable; ``row`` is its row, if it has one by now."""
    paused = row is not None and row.paused
    ahead = () if paused else _upcoming(entry)
    return ScheduleFacts(
        name=entry.name,
        kind=kind,
        job=entry.job,
        when=f"every {entry.every} s" if entry.every else f"{entry.cron} ({entry.tz})",
        every=entry.every,
        cron=entry.cron,
        tz=entry.tz,
        words=entry.words,
        next=ahead[0].astimezone(UTC) if ahead else None,
        upcoming=ahead,
        last=_last(entry, row),
        paused=paused,
        unpushed=row is not None and row.pushed_tick < row.last_tick,
    )


def _last(entry: Timetable, row: Schedule | None) -> datetime | None:
    # A row that was made or resumed just now has the time of that: nothing was due then.
    at = moment(row.last_tick) if row is not None and row.last_tick else None
    return at if at and entry.latest(at.timestamp()) == at.timestamp() else None


def _upcoming(entry: Timetable) -> tuple[datetime, ...]:
    zone, after = ZoneInfo(entry.tz), clock.now()
    found: list[datetime] = []
    while len(found) < AHEAD and (slot := entry.next(after)) is not None:
        found.append(datetime.fromtimestamp(slot, zone))
        after = slot
    return tuple(found)
