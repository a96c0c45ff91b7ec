"""How many jobs to claim ahead and when to deliver results: arithmetic, learnt from the jobs."""

from __future__ import annotations

from collections.abc import Iterable

from django_jobqueue.store.claims import MOVE_LIMIT

#: Seconds of work that may be claimed ahead.
AHEAD = 0.015

#: Jobs that are claimed ahead at most: one claim to work on while the next is on its way.
MOST = 2 * MOVE_LIMIT

#: Mean seconds of a job from which on nothing is claimed ahead.
LONG_JOB = 0.05

#: Seconds for which a result may wait for company.
FLUSH_AFTER = 0.01

#: How much one job's duration moves the mean.
WEIGHT = 0.05


class Pace:
    """
    The rhythm of one fetcher.

    The look-ahead is bounded by time: as many jobs as are expected to be done
    within some 15 ms, never more than two claims bring, none when a job takes
    50 ms or longer. Results are delivered with the next claim, at the latest
    after 10 ms or 100 of them, so a crash repeats no more than what runs and that.
    """

    def __init__(self, concurrency: int, *, each: bool = False) -> None:
        self._concurrency = concurrency
        self._each = each
        # Nothing is known yet: as if jobs were long.
        self._mean = LONG_JOB
        self.flush_after = 0.0 if each else FLUSH_AFTER

    def took(self, durations: Iterable[float]) -> None:
        """Learn from how long jobs took, in seconds, the first to end first."""
        mean = self._mean
        for seconds in durations:
            mean += WEIGHT * ((seconds if seconds < 1.0 else 1.0) - mean)
        self._mean = mean

    @property
    def ends_soon(self) -> bool:
        """Whether a job is expected to end before a result of now would have to be delivered."""
        return self._mean < self.flush_after

    @property
    def ahead(self) -> int:
        """How many jobs to hold beyond those that threads are free for."""
        if self._mean >= LONG_JOB:
            return 0
        return min(MOST, int(AHEAD * self._concurrency / max(self._mean, 1e-6)))

    def room(self, active: int) -> int:
        """Return how many more jobs may be held, given those waiting and running."""
        return self._concurrency + self.ahead - active

    def should_claim(self, free: int, starving: bool) -> bool:
        """Return whether it is worth a round trip now: a thread is idle, or half is used up."""
        return starving or free * 2 >= self._concurrency + self.ahead

    def must_flush(self, results: int) -> bool:
        """Return whether that many results must not wait for more."""
        return self._each or results >= MOVE_LIMIT

    def wake_at(self, undelivered: int) -> int:
        """Return how many newly finished jobs are worth ending the fetcher's wait for."""
        if self._each or undelivered == 0:
            return 1
        half = (self._concurrency + self.ahead + 1) // 2
        return max(1, min(half, MOVE_LIMIT - undelivered))
