"""When a worker process has done its share: what leaks in jobs ends with the process."""

from __future__ import annotations

import random
import resource
import sys
from collections.abc import Callable

#: How much further than asked a process may go, drawn anew by each: a fleet that was
#: started in one moment must not be replaced in one moment.
JITTER = 1.1

#: Bytes of a megabyte.
MEGABYTE = 1024 * 1024


class Limits:
    """
    How many jobs a process runs, and how far it may grow, before another takes its place.

    ``max_jobs`` is the least number, each process draws its own up to a tenth
    more. ``max_memory`` is in MB of growth since ``begin``; None is no limit.
    ``wake`` is called, in the thread that counts, when the jobs are done.
    """

    def __init__(
        self, max_jobs: int | None, max_memory: float | None, wake: Callable[[], None]
    ) -> None:
        self._max_jobs = max_jobs and random.randint(max_jobs, int(max_jobs * JITTER))
        self._max_growth = max_memory and max_memory * MEGABYTE
        self._wake = wake
        self._jobs = 0
        self._base = 0

    @property
    def are_set(self) -> bool:
        """Whether there is any limit."""
        return self._max_jobs is not None or self._max_growth is not None

    def begin(self) -> None:
        """Take the present memory as the base of the growth: the process has booted."""
        self._base = own_memory()

    def ran(self, jobs: int) -> None:
        """Count attempts that have ended. Called by one thread."""
        self._jobs += jobs
        if self._max_jobs is not None and self._jobs - jobs < self._max_jobs <= self._jobs:
            self._wake()

    def reached(self) -> str:
        """Return which limit is reached, as the end of a sentence; nothing when none is."""
        if self._max_jobs is not None and self._jobs >= self._max_jobs:
            return f"has run {self._jobs:,} jobs (--max-jobs)"
        if self._max_growth is not None:
            growth = own_memory() - self._base
            if growth >= self._max_growth:
                return f"has grown by {growth / MEGABYTE:,.0f} MB (--max-memory)"
        return ""


def own_memory() -> int:
    """
    Return the bytes of memory that are this process's own doing.

    Anonymous pages, in memory or swapped out. Not the resident size: that grows
    whenever code is read in from a file. Pages shared with the parent since the
    fork are counted from the beginning, so that copying one is no growth
    either: what this grows by is what was allocated. Where the system does not
    tell (macOS), it is the peak of the resident size.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            sizes = dict(line.split(":", 1) for line in file)
        return sum(int(sizes[name].split()[0]) for name in ("RssAnon", "VmSwap")) * 1024
    except (OSError, KeyError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
