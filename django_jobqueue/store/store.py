"""One Redis with its drawers: what the rest of the house sees of the cellar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_jobqueue.store.acl import Permissions
from django_jobqueue.store.bulk import BulkRecords
from django_jobqueue.store.checkup import Checkup
from django_jobqueue.store.claims import Claims
from django_jobqueue.store.entries import Entries
from django_jobqueue.store.epoch import Epoch
from django_jobqueue.store.eraser import Eraser
from django_jobqueue.store.held import HeldJobs
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link
from django_jobqueue.store.locks import Locks
from django_jobqueue.store.metrics import Metrics
from django_jobqueue.store.processes import Processes
from django_jobqueue.store.queues import Queues
from django_jobqueue.store.removal import Removal
from django_jobqueue.store.server import Server
from django_jobqueue.store.sets import Sets
from django_jobqueue.store.stats import Stats
from django_jobqueue.store.survey import Survey
from django_jobqueue.store.switches import SwitchMirror
from django_jobqueue.store.tally import Tally
from django_jobqueue.store.waiter import Waiter

DAY = 86_400.0


class Store:
    """
    One Redis, by URL, under one key prefix.

    The URL names one server, Sentinels that know the server, or nodes of a cluster
    of which one has the slot of the prefix's hash tag.

    Opens no socket before the first call. Safe to share between threads, not
    across a fork. ``timeout`` is for each reply, in seconds; ``dead_entries``
    and ``dead_age`` (seconds) bound the dead set. ``plumbing`` is for redis-py's
    connections, such as another class of them.

    Raises, from every drawer: StoreUnavailable, StoreFull, StoreRefused.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "",
        timeout: float = 2.0,
        dead_entries: int = 10_000,
        dead_age: float = 180 * DAY,
        connections: int | None = None,
        plumbing: Mapping[str, Any] | None = None,
    ) -> None:
        self._url = url
        self._plumbing = plumbing
        self._limits = (dead_entries, dead_age)
        self._link = Link(
            url, timeout=timeout, connections=connections, prefix=prefix, plumbing=plumbing
        )
        self.keys = Keys(prefix)
        self.queues = Queues(self._link, self.keys)
        self.claims = Claims(self._link, self.keys, dead_entries=dead_entries, dead_age=dead_age)
        self.sets = Sets(self._link, self.keys)
        self.entries = Entries(self._link, self.keys)
        self.locks = Locks(self._link, self.keys)
        self.held = HeldJobs(self._link, self.keys)
        self.removal = Removal(self._link, self.keys, dead_entries=dead_entries, dead_age=dead_age)
        self.bulk = BulkRecords(self._link, self.keys)
        self.processes = Processes(self._link, self.keys)
        self.stats = Stats(self._link, self.keys)
        self.metrics = Metrics(self._link, self.keys)
        self.switches = SwitchMirror(self._link, self.keys)
        self.tally = Tally(self._link, self.keys)
        self.server = Server(self._link)
        self.permissions = Permissions(self._link, self.keys)
        self.epoch = Epoch(self._link, self.keys)
        self.survey = Survey(self._link, self.keys)
        self.eraser = Eraser(self._link, self.keys)
        self.checkup = Checkup(self._link, self.keys)

    @property
    def address(self) -> str:
        """Where the server is, for people: never with a user or password."""
        return self._link.address

    def dedicated(self, *, timeout: float = 5.0) -> Store:
        """Return the same store over connections of its own, for one duty of a worker."""
        entries, age = self._limits
        return Store(
            self._url,
            prefix=self.keys.prefix,
            timeout=timeout,
            dead_entries=entries,
            dead_age=age,
            plumbing=self._plumbing,
        )

    def waiter(self, wake: int) -> Waiter:
        """Return what waits for a push or for the file descriptor ``wake`` to be readable."""
        return Waiter(self._link, self.keys, wake)

    def ping(self) -> None:
        """Ask whether the server is there. Raises: StoreUnavailable."""
        self._link.call("PING")

    def close(self) -> None:
        """Close every connection. The next call opens new ones."""
        self._link.close()
