"""The Redis that holds the jobs, as people see it: how it is, and whether jobs are safe there."""

from __future__ import annotations

from django_jobqueue import clock, connection
from django_jobqueue.store.server import ServerReport
from django_jobqueue.store.store import Store

__all__ = ["Server", "ServerReport"]


class Server:
    """
    The server itself.

    Making one costs nothing and asks nobody. ``store`` is another Redis than the settings'.

    Raises, from every call: StoreUnavailable, StoreFull, StoreRefused.
    """

    def __init__(self, *, store: Store | None = None) -> None:
        self._given = store

    def __repr__(self) -> str:
        return f"<Server {self.address}>"

    @property
    def _store(self) -> Store:
        return connection.store() if self._given is None else self._given

    @property
    def address(self) -> str:
        """Where it is, for people: never with a user or password. Asks nobody."""
        return self._store.address

    def facts(self) -> ServerReport:
        """Return what it tells of itself, in two round trips."""
        return self._store.server.report()

    def ping(self) -> float:
        """Return how long it takes to ask the server anything, in seconds."""
        began = clock.monotonic()
        self._store.ping()
        return clock.monotonic() - began
