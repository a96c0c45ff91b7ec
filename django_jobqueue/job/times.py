"""Turn what a user calls a time or a delay into epoch seconds."""

from __future__ import annotations

import sys
import warnings
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from django_jobqueue import clock
from django_jobqueue.exceptions import InvalidSchedule

#: A duration: a timedelta or seconds. A moment: a datetime or epoch seconds.
Delay = timedelta | float
When = datetime | float


def seconds(value: Any, what: str = "a delay") -> float:
    """
    Return a duration (``timedelta`` or a number of seconds) in seconds; it may be negative.

    Raises: InvalidSchedule for anything else, also bool, NaN and infinities.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else _finite(value)
    if number is None:
        raise InvalidSchedule(value, f"{what} is a timedelta or a finite number of seconds")
    return number


def after(delay: Any) -> float | None:
    """Return the epoch seconds after a delay, None for now or the past."""
    wait = seconds(delay)
    return clock.now() + wait if wait > 0 else None


def moment(when: Any) -> float | None:
    """
    Return the epoch seconds of a datetime or a number, None for now or the past.

    A naive datetime is taken in the current time zone; with USE_TZ a warning is
    given, as Django does.

    Raises: InvalidSchedule for anything else.
    """
    if isinstance(when, datetime):
        if timezone.is_naive(when):
            if settings.USE_TZ:
                warnings.warn(
                    f"perform_at got the naive datetime {when!r} while time zone support is "
                    "active; it is taken in the current time zone",
                    RuntimeWarning,
                    stacklevel=4,
                )
            when = timezone.make_aware(when)
        at = when.timestamp()
    else:
        number = _finite(when)
        if number is None:
            delay = "; for a delay use perform_in" if isinstance(when, timedelta) else ""
            raise InvalidSchedule(
                when, f"a moment is a datetime or a finite number of epoch seconds{delay}"
            )
        at = number
    return at if at > clock.now() else None


def _finite(value: Any) -> float | None:
    """Return a number as a float; None for anything else, also bool, NaN and infinities."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if abs(value) <= sys.float_info.max else None
