"""How a test waits: for a condition, with a deadline, and never for a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two looks at a condition.
POLL_INTERVAL = 0.01


def wait_until(
    predicate: Callable[[], T | None],
    timeout: float = 10.0,
    what: str | Callable[[], str] = "the condition",
) -> T:
    """
    Wait until ``predicate`` returns something true, and return that.

    ``timeout`` is in seconds. ``what`` names the awaited thing in the message of
    the failure; a callable is asked only then, so that it can tell how far
    things came.

    Raises:
        AssertionError: the deadline passed.

    """
    deadline = time.monotonic() + timeout
    while True:
        found = predicate()
        if found:
            return found
        if time.monotonic() >= deadline:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"Waited {timeout:g} s in vain for {told}.")
        time.sleep(POLL_INTERVAL)
