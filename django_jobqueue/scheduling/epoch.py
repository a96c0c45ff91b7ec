"""Notice within a second or two that Redis has lost its data, and have everything healed."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from django_jobqueue import clock, databases
from django_jobqueue.exceptions import StoreFull
from django_jobqueue.payload import new_jid
from django_jobqueue.service import Outage, Service
from django_jobqueue.signals import redis_data_lost, tell
from django_jobqueue.store.store import Store

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds between two looks at the marker, more or less.
LOOK = 1.0


class EpochWatch(Service):
    """
    Look for the marker that stands in Redis as long as its data do.

    Every process does. Who finds it gone writes a new one; the one process that
    succeeds calls ``heal`` with the reason, so that it is done once. Also on an
    empty Redis at a first start: whether it was flushed nobody can tell, and
    healing what is whole costs little. A process that knew another marker sends
    ``redis_data_lost``. A server that comes back with older data has its marker
    still: that is not noticed here, and the next tick of each reconciler heals it.
    """

    name = "epoch watch"

    def __init__(
        self, store: Store, heal: Callable[[str], None], outage: Outage | None = None
    ) -> None:
        super().__init__(outage)
        self._store = store
        self._heal = heal
        self._known: str | None = None
        self._is_full = False
        #: Ours, if it comes to that. Kept until it is seen to stand: the reply to a
        #: write may be lost, and it is the writer who heals.
        self._token = new_jid()

    def tick(self) -> float:
        """Look once; return the seconds to the next look."""
        found = self._store.epoch.read()
        if found is None:
            found = self._begin()
        if found is not None and found != self._known:
            self._enter(found)
        return LOOK * random.uniform(0.7, 1.3)

    def _begin(self) -> str | None:
        try:
            return self._store.epoch.begin(self._token)
        except StoreFull as error:  # what was not flushed is full; it is tried again
            if not self._is_full:
                logger.warning("Redis is full: a loss of data would go unnoticed by now: %s", error)
            self._is_full = True
            return None

    def _enter(self, found: str) -> None:
        known, self._known = self._known, found
        ours = found == self._token
        if ours:
            self._token = new_jid()
            self._heal("Redis is empty" if known is None else "Redis has lost its data")
        if known is not None:
            logger.error("Redis has lost its data: jobs that were in it are gone")
            with databases.fresh("A receiver of redis_data_lost", keep=False):
                tell(redis_data_lost, None, at=clock.now(), heals=ours)
