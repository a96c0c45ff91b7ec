"""django-jobqueue among its peers: measured by the same turns, in its own environment."""

from __future__ import annotations

import platform
import sys
from typing import Any

import redis

import django_jobqueue
from benchmarks.peers.peer import APPS, Command, Environment, Peer
from benchmarks.processes import ROOT
from django_jobqueue.switches.publisher import sync


class Ours(Peer):
    """django-jobqueue, from this tree, with the settings of all the other measures."""

    name = "django-jobqueue"
    settings = "10 threads"
    queue = "queue:default"
    has_bulk = True

    def prepare(self) -> None:
        """Nothing to do: it is here."""

    def versions(self) -> str:
        """Return its version and Python's."""
        return f"django-jobqueue {django_jobqueue.__version__}, Python {platform.python_version()}"

    def command(self, *, concurrency: int, number: int = 0) -> Command:
        """Return ``manage.py runjobs``."""
        return self._runjobs(concurrency, processes=1)

    def fleet(self, processes: int) -> list[Command]:
        """Return one command: it starts the processes itself."""
        return [self._runjobs(self.concurrency, processes)]

    def producer_command(self) -> Command:
        """Return the command of a process that enqueues what it is told."""
        return [sys.executable, str(APPS / "produce.py"), "jobqueue_app"]

    def environment(self) -> Environment:
        """Let its processes find this tree; what the settings ask for is in our environment."""
        return {"PYTHONPATH": str(ROOT)}

    def start_fresh(self, client: redis.Redis) -> None:
        """Empty Redis, and let it know the kill switches as wherever a worker runs."""
        super().start_fresh(client)
        sync()

    def counted(self, client: redis.Redis) -> int | None:
        """Return what the counters of the worker say."""
        processed: Any = client.get("stat:processed")
        failed: Any = client.get("stat:failed")
        return int(processed or 0) - int(failed or 0)

    def _runjobs(self, concurrency: int, processes: int) -> Command:
        return [
            sys.executable, "-m", "django", "runjobs",
            "--concurrency", str(concurrency), "--processes", str(processes),
        ]  # fmt: skip
