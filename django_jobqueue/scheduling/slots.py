"""
Which slots were claimed, in the database: there no flushed Redis and no second leader fires twice.

Every change is one guarded UPDATE, so that of many contenders one wins.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import router
from django.db.models import QuerySet

from django_jobqueue import clock
from django_jobqueue.models import Schedule


def rows(names: Iterable[str]) -> dict[str, Schedule]:
    """Return the rows of these timetables that there are, in one query."""
    return {row.name: row for row in _rows().filter(name__in=list(names))}


def begin(name: str) -> Schedule:
    """Return the row of a timetable, made if it is missing. A new one begins with the present."""
    now = int(clock.now())
    return _rows().get_or_create(name=name, defaults={"last_tick": now, "pushed_tick": now})[0]


def claim(row: Schedule, slot: int) -> bool:
    """
    Claim all slots up to this one, if nobody did so since the row was read.

    Those of a paused timetable are over with that: they do not pile up. Returns
    whether the claim is ours.
    """
    # As it was read, which is stricter than "before the slot": the winner knows
    # from which slot on all are his.
    seen = _rows().filter(name=row.name, last_tick=row.last_tick, paused=row.paused)
    if row.paused:
        return bool(seen.update(last_tick=slot, pushed_tick=slot))
    return bool(seen.update(last_tick=slot))


def take_back(row: Schedule, slot: int) -> bool:
    """Claim a slot that lies before the last one, which cannot be: it is of a clock gone wrong."""
    seen = _rows().filter(name=row.name, last_tick=row.last_tick)
    return bool(seen.update(last_tick=slot, pushed_tick=slot - 1))


def settle(name: str, slot: int) -> None:
    """Note that what was claimed up to this slot has reached Redis, or shall not."""
    _rows().filter(name=name, pushed_tick__lt=slot).update(pushed_tick=slot)


def pause(name: str) -> bool:
    """Fire a timetable no more; return whether it did."""
    begin(name)
    return bool(_rows().filter(name=name, paused=False).update(paused=True))


def resume(name: str) -> bool:
    """Fire a paused timetable again, from its next slot on; return whether it was paused."""
    now = int(clock.now())
    return bool(
        _rows().filter(name=name, paused=True).update(paused=False, last_tick=now, pushed_tick=now)
    )


def _rows() -> QuerySet[Schedule]:
    # Of the database that is written to: a replica may not have the last claim yet.
    return Schedule.objects.using(router.db_for_write(Schedule))
