"""The one place that asks what time it is, so that tests can stop it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> float:
    """Return the wall clock: epoch seconds, UTC."""
    return time.time()


def now_ms() -> int:
    """Return the wall clock in whole milliseconds, as the ``*_at`` fields of a payload count."""
    return int(now() * 1000)


#: Returns seconds on a clock that never goes back. Only differences mean something. The system's
#: own call, and none of ours around it: a worker asks for each job several times.
monotonic = time.monotonic


def utc_day(at: float | None = None) -> str:
    """Return the UTC day as ``YYYY-MM-DD``, the form in the names of the daily counters."""
    return datetime.fromtimestamp(now() if at is None else at, UTC).strftime("%Y-%m-%d")
