"""What is examined: read when a check first asks for it, and once for all of them."""

from __future__ import annotations

from functools import cached_property

from django_jobqueue import clock, connection
from django_jobqueue.api import Process, ProcessSet, Server, ServerReport, Stats
from django_jobqueue.conf import Settings, get_settings
from django_jobqueue.store.checkup import Sweep
from django_jobqueue.store.store import Store

#: The share of the budget that the look through the names of all keys may take.
_SHARE = 0.5


class Patient:
    """
    One Redis with what stands in it, and the settings.

    ``budget`` is for how many seconds those checks may look that could go on for long.

    Raises, from whatever asks Redis: StoreError.
    """

    def __init__(self, store: Store | None, budget: float) -> None:
        self.store = connection.store() if store is None else store
        self.settings: Settings = get_settings()
        self._budget = budget
        self._end = clock.monotonic() + budget
        #: Whether some check had to stop before it had seen everything.
        self.is_cut_short = False

    @property
    def time_left(self) -> float:
        """The seconds that are left of the budget."""
        return max(0.0, self._end - clock.monotonic())

    @cached_property
    def stats(self) -> Stats:
        """Everything at a glance, from one moment."""
        return Stats(store=self.store).refresh()

    @cached_property
    def processes(self) -> list[Process]:
        """The processes that gave a sign of life within the last minute."""
        return list(iter(ProcessSet(store=self.store)))  # or its length is asked for, too

    @cached_property
    def leases(self) -> dict[str, float]:
        """The leases of all processes in seconds from now, also of those that died."""
        return ProcessSet(store=self.store).leases()

    @cached_property
    def facts(self) -> ServerReport:
        """What the server tells of itself."""
        return Server(store=self.store).facts()

    @cached_property
    def time(self) -> float:
        """The clock of Redis when it was first asked, in epoch seconds."""
        return self.store.checkup.time()

    @cached_property
    def sweep(self) -> Sweep:
        """What the names of all keys tell, of as many as the budget allows."""
        found = self.store.checkup.sweep(min(self.time_left, self._budget * _SHARE))
        self.is_cut_short |= not found.is_complete
        return found
