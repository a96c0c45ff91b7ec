"""Counts what each class did in this process, until the heartbeat takes it to Redis."""

from __future__ import annotations

import threading
from bisect import bisect_right

from django_jobqueue.store.metrics import BUCKETS, LIMITS, Counts, Snapshot, together

#: Where the buckets end, in seconds.
_LIMITS = tuple(limit / 1000 for limit in LIMITS)


class _Count:
    """
    What one thread noted of one class, since that thread began.

    Only that thread writes it and it only grows; who takes remembers what was
    taken. So nothing is locked, and nothing that is noted meanwhile is lost.
    """

    __slots__ = ("failed", "histogram", "seconds", "taken")

    def __init__(self) -> None:
        self.failed = 0
        self.seconds = 0.0
        self.histogram = [0] * BUCKETS
        self.taken = Counts(0, 0, (0,) * BUCKETS)

    def take(self) -> Counts:
        """Return what was added since this was called last."""
        before = self.taken
        # Of whole ms: a fraction is not lost, it is taken with the next.
        self.taken = Counts(self.failed, round(self.seconds * 1000), tuple(self.histogram))
        return self.taken - before


class Tracker:
    """
    Note the end of every attempt, from any thread and from the event loop.

    Memory is bounded by the number of classes times that of threads.
    """

    def __init__(self) -> None:
        self._here = threading.local()
        self._threads: list[dict[str, _Count]] = []

    def note(self, job_class: str, seconds: float, failed: bool) -> None:
        """
        Count an attempt of a class that is registered, and its time unless it failed.

        As Sidekiq counts: how long a failure took says little about the job.
        """
        try:
            count = self._here.counts[job_class]
        except (AttributeError, KeyError):
            count = self._begin(job_class)
        if failed:
            count.failed += 1
        else:
            count.seconds += seconds
            count.histogram[bisect_right(_LIMITS, seconds)] += 1

    def take(self) -> Snapshot:
        """
        Return everything noted since the last call. For one thread at a time.

        An attempt that is being noted at this moment may come with the next call.
        """
        taken: list[Snapshot] = []
        for counts in self._threads.copy():
            # A list: the thread may begin another class meanwhile.
            changes = ((name, count.take()) for name, count in list(counts.items()))
            taken.append({name: change for name, change in changes if change.processed})
        return together(*taken)

    def _begin(self, job_class: str) -> _Count:
        """Return where this thread counts a class that it has not met before."""
        if not hasattr(self._here, "counts"):
            self._here.counts = {}
            self._threads.append(self._here.counts)
        count: _Count = self._here.counts.setdefault(job_class, _Count())
        return count
