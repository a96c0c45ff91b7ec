"""What dead worker processes held, until it is back where others find it."""

from __future__ import annotations

from django_jobqueue import clock
from django_jobqueue.exceptions import StoreError
from django_jobqueue.scheduling.recovery import CrashPolicy, take_back
from django_jobqueue.service import Backoff, Outage
from django_jobqueue.store.store import Store


class Deaths:
    """
    Identities of dead processes whose claims are not taken back yet.

    To be settled again and again until none is left: Redis may be away.
    """

    def __init__(self, store: Store, policy: CrashPolicy, outage: Outage) -> None:
        self.identities: list[str] = []
        self._store = store
        self._policy = policy
        self._outage = outage
        self._backoff = Backoff()
        self._retry_at = 0.0

    def settle(self) -> None:
        """Declare the processes dead and take back what they held, if it is time for a try."""
        if not self.identities or clock.monotonic() < self._retry_at:
            return
        try:
            while self.identities:
                identity = self.identities[0]
                self._store.claims.declare_dead(identity)
                take_back(self._store.claims, identity, self._policy)
                self._store.processes.forget(identity)
                self.identities.pop(0)
            self._backoff.reset()
            self._outage.ended("deaths")
        except StoreError as error:
            self._outage.began(error, "deaths")
            self._retry_at = clock.monotonic() + self._backoff.next()
