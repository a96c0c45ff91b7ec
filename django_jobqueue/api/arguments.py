"""What the calls of this room are given: pages that have a bound, times, names."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.payload import TIME_LIMIT

#: Entries of a page where nothing is said, and at most.
PAGE = 100
MOST = 1000

#: No place is so far: Redis has whole numbers below 2**63.
FAR = 1 << 62

#: From here on a cursor is a place in time (a score, and how many of it were passed), below
#: ``FAR`` one of Redis; and where there are none any more.
WALKS, CURSORS = 1 << 96, 1 << 97

#: Entries that one step of a search reads: more would keep Redis from others for too long.
STEP = 500

#: The same where Redis itself looks for a text in each of them, which takes it longer.
MATCH_STEP = 200

#: Entries of a sample where nothing is said.
SAMPLE = 500

#: Seconds that a search takes where nothing is said.
BUDGET = 1.0


def page_count(count: object) -> int:
    """Return the size of a page. Raises: InvalidQuery."""
    if type(count) is int and 1 <= count <= MOST:
        return count
    raise InvalidQuery("count", count, f"a page has 1 to {MOST:,} entries")


def position(value: object, name: str = "start", *, below: int = FAR) -> int:
    """Return a place to begin at. Raises: InvalidQuery."""
    if type(value) is int and 0 <= value < below:
        return value
    raise InvalidQuery(name, value, "give a whole number from 0 on, such as was returned")


def most(limit: object) -> int | None:
    """Return how many at most; None for all. Raises: InvalidQuery."""
    if limit is None or (type(limit) is int and limit >= 1):
        return limit
    raise InvalidQuery("limit", limit, "give a whole number from 1 on, or None")


def seconds(budget: object) -> float | None:
    """Return a budget in seconds; None where there is no end. Raises: InvalidQuery."""
    if budget is None:
        return None
    if type(budget) in (int, float) and 0 <= budget <= TIME_LIMIT:  # type: ignore[operator]
        return float(budget)  # type: ignore[arg-type]
    raise InvalidQuery("budget", budget, "give seconds from 0 on, or None for no end")


def text(value: object, name: str) -> str:
    """Return a text that is not empty. Raises: InvalidQuery."""
    if isinstance(value, str) and value:
        return value
    raise InvalidQuery(name, value, "give a text that is not empty")


def class_name(job_class: object) -> str:
    """Return the wire name of a job class, given by that name or itself. Raises: InvalidQuery."""
    if isinstance(job_class, type) and issubclass(job_class, Job):
        return wire_name(job_class)
    return text(job_class, "job_class")


def epoch(when: object, name: str) -> float:
    """
    Return epoch seconds of a datetime or a number; a naive datetime is in the current time zone.

    Raises: InvalidQuery.
    """
    if isinstance(when, datetime):
        return (timezone.make_aware(when) if timezone.is_naive(when) else when).timestamp()
    if type(when) in (int, float) and abs(when) <= TIME_LIMIT:  # type: ignore[arg-type]
        return float(when)  # type: ignore[arg-type]
    raise InvalidQuery(name, when, "give a datetime or epoch seconds")
