"""The counters: how much was done, for people."""

from __future__ import annotations

from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link


class Stats:
    """Read the totals."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def counters(self) -> dict[str, int]:
        """
        Return all totals since the data began.

        ``processed`` counts every finished attempt and ``failed`` those that
        raised, as Sidekiq does; beside them ``recovered``, ``fenced``, ``back``,
        ``snooze``, ``skipped``, ``expired``, ``discarded`` and ``forget``, each
        present once it has happened.
        """
        processed, failed, ours = self._link.pipeline(
            [
                ("GET", self._keys.processed),
                ("GET", self._keys.failed),
                ("HGETALL", self._keys.counters),
            ]
        )
        return {
            "processed": int(processed or 0),
            "failed": int(failed or 0),
            **{name.decode(): int(value) for name, value in ours.items()},
        }
