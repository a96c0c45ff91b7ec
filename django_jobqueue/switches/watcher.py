"""The loop that keeps a worker's switches fresh, and the mirror true to the database."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection

from django.db import Error as DatabaseFault

from django_jobqueue import clock, databases
from django_jobqueue.exceptions import JobQueueError
from django_jobqueue.service import Backoff, Outage, Service
from django_jobqueue.switches.publisher import sync
from django_jobqueue.switches.seldom import Seldom
from django_jobqueue.switches.switches import FRESH, switches

logger = logging.getLogger("django_jobqueue.switches")

#: Seconds between two readings of the database. With the second that other processes
#: take to look at the mirror, all obey within 5 s what was written past every signal.
EVERY = 3.5

#: Seconds between two looks at the mirror: before a job would look by itself, which on an
#: event loop would keep all others waiting while Redis does not answer.
AHEAD = 0.75 * FRESH


class Watcher(Service):
    """
    Read the mirror every second, and the database every few.

    Every worker process has one; they look at the database at moments of their
    own. What ``update()``, ``waffle_delete`` and SQL do to the flags is found
    here, and a mirror that was flushed is written again. ``turned_off`` is told
    the wire names of job classes that no switch stops any more.
    """

    name = "switches"

    def __init__(
        self,
        outage: Outage | None = None,
        turned_off: Callable[[Collection[str]], None] | None = None,
    ) -> None:
        super().__init__(outage)
        self._turned_off = turned_off
        self._stopped = switches().stopped()
        self._trouble = Seldom(logger)
        self._backoff = Backoff()
        self._due = clock.monotonic() + random.uniform(0, EVERY)

    def tick(self) -> float:
        """Look at whatever is due; return the seconds until the next look."""
        if clock.monotonic() >= self._due:
            self._due = clock.monotonic() + EVERY
            self._sync()
        switches().refresh(force=True)
        self._tell()
        return max(0.0, min(AHEAD, self._due - clock.monotonic()))

    def _tell(self) -> None:
        stopped = switches().stopped()
        free = self._stopped - stopped
        if free and self._turned_off is not None:
            self._turned_off(free)
        # Not before: what has failed is told again.
        self._stopped = stopped

    def _sync(self) -> None:
        try:
            with databases.fresh("The watcher of the switches"):
                sync()
        except DatabaseFault as error:
            # A connection that was cut in the middle shall not cost a whole round.
            self._due = clock.monotonic() + min(EVERY, self._backoff.next())
            self._trouble.warn("The flags cannot be read, the last known states stay: %s", error)
        else:
            self._backoff.reset()


def load() -> None:
    """
    Learn the switches before a worker takes its first job.

    From the database, and where that cannot be read, from the mirror; where
    neither can, the worker begins without.
    """
    try:
        # The thread that starts a worker has no other use for a connection.
        with databases.fresh("The start of a worker", keep=False):
            sync()
    except (JobQueueError, DatabaseFault) as error:
        logger.warning("The kill switches cannot be brought up to date yet: %s", error)
        switches().refresh(force=True)
