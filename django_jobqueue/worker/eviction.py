"""Tell when a server that was safe at the start throws keys away by now."""

from __future__ import annotations

import logging

from django_jobqueue.service import Outage, Service
from django_jobqueue.store.store import Store

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds between two looks: another server may answer after each new connection.
LOOK = 10.0


class EvictionWatch(Service):
    """
    Look at the eviction policy again: another server may have taken over, or somebody set it.

    A worker does not end for it: jobs that are there had better be run.
    """

    name = "eviction watch"

    def __init__(self, store: Store, outage: Outage | None = None) -> None:
        super().__init__(outage)
        self._store = store
        self._told = ""

    def tick(self) -> float:
        """Look once; return the seconds to the next look."""
        facts = self._store.server.facts()
        found = facts.eviction if facts.evicts else ""
        if found and found != self._told:
            logger.error(
                "Redis at %s has maxmemory-policy %s by now, so it throws jobs away when it is "
                "full: set it to noeviction",
                self._store.address, found,
            )  # fmt: skip
        self._told = found
        return LOOK
