"""A peer: another job system, in an environment of its own, and how its parts are started."""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import redis

from benchmarks.peers.producer import Producer

#: Where the peers' own jobs lie: files for their interpreters, not for ours.
APPS = Path(__file__).parent / "apps"

#: Seconds that a question to a peer's interpreter may take.
_PATIENCE = 60.0

Command = list[str]
Environment = dict[str, str]


class Unavailable(RuntimeError):
    """A peer cannot be had on this machine; the text says why."""


class Peer(ABC):
    """
    One system: how its worker is started and who enqueues for it.

    The jobs stand in ``apps/``, and are the same for all: one does nothing but to note
    the time on the board, one tells how long it was on its way, and one writes to a
    journal, sleeps, and writes again.
    """

    #: What the command line calls it, and what a table calls its settings.
    name: ClassVar[str]
    settings: ClassVar[str]

    #: The Redis list that holds the jobs that wait.
    queue: ClassVar[str]

    #: Jobs at once in one process, where it is at its best.
    concurrency: ClassVar[int] = 10

    #: The part of the jobs of a run that it gets: a slow one would take all day.
    share: ClassVar[float] = 1.0

    #: Seconds between two jobs of the latency: more than it takes for one.
    pause: ClassVar[float] = 0.005

    #: Whether it has a call for many jobs at once.
    has_bulk: ClassVar[bool] = False

    @abstractmethod
    def prepare(self) -> None:
        """
        Make its environment once; nothing to do when it is there.

        Raises:
            Unavailable: it cannot be had here.

        """

    @abstractmethod
    def versions(self) -> str:
        """Return what it is, as in "RQ 3.0.0, Python 3.13.0"; only after ``prepare``."""

    @abstractmethod
    def command(self, *, concurrency: int, number: int = 0) -> Command:
        """Return the command of one worker, the ``number``-th of its kind."""

    @abstractmethod
    def producer_command(self) -> Command:
        """Return the command of a process that enqueues what it is told, see ``Producer``."""

    def environment(self) -> Environment:
        """Return what its processes need in their environment beside Redis, board and journal."""
        return {}

    def fleet(self, processes: int) -> list[Command]:
        """Return the commands that make so many worker processes, each at its best."""
        return [
            self.command(concurrency=self.concurrency, number=number) for number in range(processes)
        ]

    def start_fresh(self, client: redis.Redis) -> None:
        """Empty the benchmark's own Redis for it."""
        client.flushall()

    def counted(self, client: redis.Redis) -> int | None:
        """Return how many jobs its own counter says were done; None where it counts nothing."""
        return None

    def waiting(self, client: redis.Redis) -> int:
        """Return how many jobs wait in its queue."""
        length: Any = client.llen(self.queue)
        return int(length)

    def worker(
        self, url: str, journal: Path, *, concurrency: int
    ) -> tuple[Command, dict[str, str]]:
        """
        Return the command of one worker on the Redis at ``url``, and what its environment needs.

        Its jobs write to ``journal`` as tests/support/journal.py reads it. Only after ``prepare``.
        """
        return self.command(concurrency=concurrency), self.at(url, journal=journal)

    def push(self, url: str, jobs: Sequence[tuple[str, float]]) -> None:
        """Enqueue jobs that write to the journal: an ident, and the seconds to sleep, of each."""
        with Producer(self.producer_command(), self.at(url)) as producer:
            producer.journal(jobs)

    def at(
        self, url: str, *, board: Path | None = None, journal: Path | None = None
    ) -> Environment:
        """Return all that its processes need in their environment."""
        found = {**self.environment(), "BENCHMARK_REDIS_URL": url}
        if board is not None:
            found["BENCHMARK_BOARD"] = str(board)
        if journal is not None:
            found["BENCHMARK_JOURNAL"] = str(journal)
        return found


def answer(command: Command, environment: Environment) -> str:
    """Return what a short command says. Raises: CalledProcessError when it fails."""
    done = subprocess.run(  # noqa: S603, a peer's interpreter
        command,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    return done.stdout.strip()
