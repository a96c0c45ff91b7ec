"""The held jobs: accepted, and stopped by a kill switch before they ran."""

from __future__ import annotations

from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link, scored


class HeldJobs:
    """
    Look at what is held, by job class, and ask how much of it may go.

    Jobs come here by the scripts ``step`` and ``promote``, and go by ``promote``.
    """

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def classes(self) -> dict[str, int]:
        """Return how many jobs of each class are held; a class with none is left out."""
        names = sorted(
            name.decode(errors="replace")
            for name in self._link.call("SMEMBERS", self._keys.held_classes)
        )
        if not names:
            return {}
        counts = self._link.pipeline([("ZCARD", self._keys.held(name)) for name in names])
        return {name: count for name, count in zip(names, counts, strict=True) if count}

    def page(self, job_class: str, start: int = 0, count: int = 100) -> list[tuple[bytes, float]]:
        """Return held jobs of a class and since when (epoch seconds), the longest held first."""
        return scored(
            self._link.call(
                "ZRANGE", self._keys.held(job_class), start, start + count - 1, "WITHSCORES"
            )
        )

    def forget_empty(self, job_class: str) -> None:
        """Take a class of which nothing is held off the list of classes."""
        self._link.script(
            "forget", [self._keys.held_classes, self._keys.held(job_class)], [job_class]
        )

    def allow(self, job_class: str, *, rate: float, ramp: float, wanted: int) -> int:
        """
        Return how many jobs of a class may be released now, and take them as released.

        ``rate`` in jobs a second for the whole fleet, reached within ``ramp`` seconds.
        """
        allowed: int = self._link.script(
            "allow", [self._keys.releases], [job_class, rate, ramp, wanted]
        )
        return allowed
