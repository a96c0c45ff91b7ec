"""How PERIODIC and RECONCILERS are read: what runs again and again, and when."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from django_jobqueue import clock
from django_jobqueue.timetable import BACKFILL, RUN, SKIP, Timetable
from django_jobqueue.validators import (
    MAX_DURATION,
    UNKNOWN,
    Fault,
    Wrong,
    advise,
    integer,
    is_dotted,
    show,
)

#: What an entry of PERIODIC may be called. No dot: the paths of reconcilers stand beside it.
_NAME = re.compile(r"[A-Za-z0-9_-]+")

#: Characters of the longest name, as the table of schedules holds them.
NAME_LIMIT = 200

#: Missed slots that are run one by one, at most.
MAX_BACKFILL = 1000

_EVERY = re.compile(r"([0-9]{1,10}) ?([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

_PERIODIC_KEYS = ("job", "every", "cron", "tz", "args", "missed")
_RECONCILER_KEYS = ("every", "cron", "tz")

_Found = TypeVar("_Found")


def periodic(value: Any) -> tuple[Timetable, ...]:
    """Read PERIODIC: a name to each job that runs by a timetable."""
    return _entries(value, _periodic_name, _PERIODIC_KEYS)


def reconcilers(value: Any) -> tuple[Timetable, ...]:
    """Read RECONCILERS: the dotted path of each reconciler to its timetable."""
    return _entries(value, _path, _RECONCILER_KEYS)


def _entries(
    value: Any, check_name: Callable[[Any], str], keys: tuple[str, ...]
) -> tuple[Timetable, ...]:
    if not isinstance(value, Mapping):
        raise Wrong(Fault(f"is {show(value)}, not a dict", "Write {name: {'every': '1m'}}"))
    entries: list[Timetable] = []
    faults: list[Fault] = []
    known: dict[str, str] = {}
    for raw_name, raw in value.items():
        place = f"[{show(raw_name)}]"
        name = _attempt(faults, place, check_name, raw_name) or ""
        if (twin := known.setdefault(name.lower(), name)) != name:
            # Some databases take them for the same.
            complaint = f"differs from {twin!r} in nothing but capitals"
            faults.append(Fault(complaint, "Give it another name", place, "django_jobqueue.E006"))
        entry = _attempt(faults, place, partial(_entry, name, keys), raw)
        if entry is not None:
            entries.append(entry)
    if faults:
        raise Wrong(*faults)
    return tuple(entries)


def _attempt(
    faults: list[Fault], place: str, read: Callable[[Any], _Found], raw: Any
) -> _Found | None:
    """Return what ``raw`` stands for, or None, and what is wrong with it in ``faults``."""
    try:
        return read(raw)
    except Wrong as wrong:
        faults += (replace(fault, place=f"{place}{fault.place}") for fault in wrong.faults)
        return None


def _entry(name: str, keys: tuple[str, ...], raw: Any) -> Timetable:
    if not isinstance(raw, Mapping):
        raise Wrong(Fault(f"is {show(raw)}, not a dict", "Write {'every': '1m'}"))
    faults = list(_contradictions(keys, raw))
    parts: dict[str, Any] = {"job": name}
    for key, value in raw.items():
        place = f"[{show(key)}]"
        if key in keys:
            parts[key] = _attempt(faults, place, _READERS[key], value)
        else:
            faults.append(_unknown(key, keys, place))
    if faults:
        raise Wrong(*faults)
    missed, backfill = parts.pop("missed", (RUN, 0))
    entry = Timetable(name, **parts, missed=missed, backfill=backfill)
    if entry.next(clock.now()) is None:
        complaint = f"is {show(entry.cron)}, which never comes"
        raise Wrong(Fault(complaint, "Name a day that there is", "['cron']"))
    return entry


def _contradictions(keys: tuple[str, ...], raw: Mapping[Any, Any]) -> Iterator[Fault]:
    """Yield what no part of an entry can be wrong in alone."""
    if "job" in keys and "job" not in raw:
        yield Fault("has no job", "Say 'job': 'reports.jobs.Nightly'")
    if ("every" in raw) == ("cron" in raw):
        which = "both every and cron" if "every" in raw else "neither every nor cron"
        yield Fault(f"has {which}", "Say 'every': '1m', or 'cron': '0 3 * * *'")
    elif "every" in raw and "tz" in raw:
        yield Fault("has a tz and no cron", "Leave it out: every needs no zone")


def _unknown(key: object, keys: tuple[str, ...], place: str) -> Fault:
    close = difflib.get_close_matches(str(key).lower(), keys, n=1)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    return Fault("is no setting", f"{guess}There are {', '.join(keys)}", place, UNKNOWN)


def _periodic_name(raw: Any) -> str:
    if not isinstance(raw, str) or not _NAME.fullmatch(raw) or len(raw) > NAME_LIMIT:
        raise Wrong(
            Fault(
                "is no name",
                f"Use 1 to {NAME_LIMIT} of the characters A-Z, a-z, 0-9, '_' and '-'",
            )
        )
    return raw


def _path(raw: Any) -> str:
    if not is_dotted(raw) or len(raw) > NAME_LIMIT:
        raise Wrong(
            Fault(
                f"is {show(raw)}, not a dotted path of at most {NAME_LIMIT} characters",
                "Name the class by a string, as 'backups.jobs.ScheduleBackups'",
            )
        )
    return str(raw)


def _every(raw: Any) -> int:
    seconds: Any = raw.total_seconds() if isinstance(raw, timedelta) else raw
    if isinstance(raw, str) and (match := _EVERY.fullmatch(raw)):
        seconds = int(match[1]) * _UNITS[match[2]]
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    # A NaN compares false with everything.
    if not is_number or not 1 <= seconds <= MAX_DURATION or seconds != int(seconds):
        raise Wrong(
            Fault(
                f"is {show(raw)}, not a whole number of seconds",
                "Give '30s', '1m', '2h' or '1d', a timedelta or a number of seconds, from 1 on",
            )
        )
    return int(seconds)


def _cron(raw: Any) -> str:
    fields = raw.split() if isinstance(raw, str) else []
    try:
        if len(fields) != 5:
            raise CronSimError("Wrong number of fields")
        CronSim(raw, datetime.fromtimestamp(clock.now(), UTC))
    except CronSimError as error:
        raise Wrong(
            Fault(
                f"is {show(raw)}: {str(error).lower()}",
                "Write five fields, minute, hour, day, month and weekday, as '0 3 * * *'",
            )
        ) from None
    return " ".join(fields)


def _zone(raw: Any) -> str:
    try:
        if not isinstance(raw, str) or not raw:
            raise ValueError("a zone is a string")
        ZoneInfo(raw)
    # Not found; no key at all; a directory of zones, or a file that holds none.
    except (LookupError, ValueError, OSError):
        raise Wrong(
            Fault(f"is {show(raw)}, no time zone known here", "Name one as 'Europe/Paris'")
        ) from None
    return raw


def _args(raw: Any) -> tuple[Any, ...]:
    if not isinstance(raw, (list, tuple)):
        raise Wrong(Fault(f"is {show(raw)}, not a list", "Write the arguments as a list"))
    return tuple(raw)


def _missed(raw: Any) -> tuple[str, int]:
    if isinstance(raw, Mapping) and list(raw) == [BACKFILL]:
        try:
            return BACKFILL, integer(1, MAX_BACKFILL)(raw[BACKFILL])
        except Wrong as wrong:
            raise Wrong(*(replace(f, place=f"[{BACKFILL!r}]") for f in wrong.faults)) from None
    if raw not in (RUN, SKIP):
        raise Wrong(
            Fault(f"is {show(raw)}", f"{advise(raw, (RUN, SKIP))}, or to {{'{BACKFILL}': 24}}")
        )
    return str(raw), 0


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "job": _path,
    "every": _every,
    "cron": _cron,
    "tz": _zone,
    "args": _args,
    "missed": _missed,
}
