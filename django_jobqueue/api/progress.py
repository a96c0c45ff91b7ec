"""How far a verb over many jobs has come: what is told while it goes on, and in the end."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from django_jobqueue.api import moves
from django_jobqueue.api.records import JobRecord
from django_jobqueue.client.results import Status
from django_jobqueue.payload import printable

logger = logging.getLogger("django_jobqueue.api")


@dataclass(slots=True)
class Progress:
    """
    How far a verb over many jobs has come, or what it did in the end.

    ``total`` is how many stood there when it began, ``looked_at`` how many of them
    it has read, ``matched`` how many were meant, ``done`` how many went their way.
    The others of those that were meant: ``gone`` were moved by somebody else,
    ``disabled`` are stopped by their kill switch, ``refused`` by a client middleware,
    ``duplicates`` have a newer job that holds their lock; they stay where they
    were, counted by ``stayed``. So do ``failed``, where a middleware raised or Redis
    refused; each is logged.
    """

    total: int
    looked_at: int = 0
    matched: int = 0
    done: int = 0
    failed: int = 0
    stayed: Counter[Status] = field(default_factory=Counter)

    @property
    def gone(self) -> int:
        """How many somebody else had moved."""
        return self.stayed[Status.GONE]

    @property
    def disabled(self) -> int:
        """How many a kill switch stops."""
        return self.stayed[Status.DISABLED]

    @property
    def refused(self) -> int:
        """How many a client middleware refused."""
        return self.stayed[Status.REFUSED]

    @property
    def duplicates(self) -> int:
        """How many have a newer job that holds their lock."""
        return self.stayed[Status.DUPLICATE]

    def removed(self, meant: int, there: int) -> None:
        """Take in a page that was deleted or killed."""
        self.done += there
        self._missed(meant - there)

    def moved(self, batch: moves.Batch) -> None:
        """Take in a page that was let go on."""
        self.done += batch.moved
        self._missed(batch.gone)
        self.stayed.update(each.status for each in batch.stayed)
        self.failed += len(batch.faults)
        for raw, fault in batch.faults.items():
            logger.error(
                "%r stays where it was: %s", JobRecord(raw), printable(str(fault)), exc_info=fault
            )

    def _missed(self, count: int) -> None:
        if count:
            self.stayed[Status.GONE] += count

    def copy(self) -> Progress:
        """Return how it stands now."""
        return replace(self, stayed=Counter(self.stayed))


#: Is told how far it has come, after each page. What it raises ends the work there.
Told = Callable[[Progress], None]
