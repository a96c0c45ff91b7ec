"""What a worker process was asked to do: the flags of ``runjobs``, checked."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from django_jobqueue.exceptions import BootError, InvalidQueueName
from django_jobqueue.payload import check_queue_name

logger = logging.getLogger("django_jobqueue.worker")


@dataclass(frozen=True, slots=True)
class QueueOrder:
    """
    The queues of a worker and how each fetch orders them.

    ``strict``: as given, an earlier one first as long as it has jobs. Otherwise
    a fresh draw each time, in which a queue of weight 6 comes first twice as
    often as one of weight 3; with equal weights that is a random order.
    """

    weights: dict[str, int]
    strict: bool = False

    @classmethod
    def parse(cls, entries: Sequence[str], *, strict: bool = False) -> QueueOrder:
        """
        Read ``name``, ``name,weight`` and comma lists of names.

        Raises: BootError naming the entry that is none.
        """
        weights: dict[str, int] = {}
        for entry in entries:
            parts = [part.strip() for part in entry.split(",")]
            names, weight = parts, 1
            if len(parts) == 2 and re.fullmatch("-?[0-9]{1,9}", parts[1]):
                names, weight = parts[:1], int(parts[1])
            if weight < 1:
                raise BootError(f"--queue {entry!r}: a weight is a number from 1 on")
            for name in names:
                try:
                    weights[check_queue_name(name)] = weight
                except InvalidQueueName as error:
                    raise BootError(f"--queue {entry!r}: {error}") from None
        if not weights:
            raise BootError("no queue to work on: give --queue NAME")
        return cls(weights, strict)

    def without(self, excluded: Sequence[str]) -> QueueOrder:
        """
        Return the order without some queues: names, or comma lists of names.

        One that is not here is told in the log: a slip would have it worked on.

        Raises: BootError when nothing is left, or for what is no name.
        """
        weights = dict(self.weights)
        for name in (part.strip() for entry in excluded for part in entry.split(",")):
            try:
                check_queue_name(name)
            except InvalidQueueName as error:
                raise BootError(f"--exclude-queue {name!r}: {error}") from None
            if name not in self.weights:
                logger.warning(
                    "--exclude-queue %r: it is none of the queues %s", name, ", ".join(self.names)
                )
            weights.pop(name, None)
        if not weights:
            raise BootError("--exclude-queue leaves no queue to work on")
        return QueueOrder(weights, self.strict)

    @property
    def names(self) -> list[str]:
        """All queues, in the order given."""
        return list(self.weights)

    @property
    def mode(self) -> str:
        """The mode in Sidekiq's words: strict, weighted or random."""
        if self.strict:
            return "strict"
        return "random" if len(set(self.weights.values())) == 1 else "weighted"

    def draw(self) -> list[str]:
        """Return the order for one fetch."""
        if self.strict or len(self.weights) == 1:
            return list(self.weights)
        # Efraimidis and Spirakis: sorting by u^(1/w) draws without replacement by weight.
        return sorted(
            self.weights, key=lambda name: random.random() ** (1 / self.weights[name]), reverse=True
        )


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """
    The flags of one ``runjobs``. Durations in seconds, ``max_memory`` in MB; None: no limit.

    With an ``async_concurrency`` of 0 there is no event loop.
    """

    queues: QueueOrder
    concurrency: int = 10
    processes: int = 1
    timeout: float = 25.0
    burst: bool = False
    lease: float = 60.0
    ack_each: bool = False
    max_jobs: int | None = None
    max_memory: float | None = None
    remote_signals: bool = True
    async_concurrency: int = 0

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise BootError(f"--concurrency {self.concurrency}: it is a number from 1 on")
        if self.async_concurrency < 0:
            raise BootError(
                f"--async-concurrency {self.async_concurrency}: it is a number from 0 on"
            )
        if self.processes < 1:
            raise BootError(f"--processes {self.processes}: it is a number from 1 on")
        if not self.timeout >= 0:
            raise BootError(f"--timeout {self.timeout}: it is a number of seconds from 0 on")
        if self.max_jobs is not None and self.max_jobs < 1:
            raise BootError(f"--max-jobs {self.max_jobs}: it is a number from 1 on")
        if self.max_memory is not None and not self.max_memory > 0:
            raise BootError(f"--max-memory {self.max_memory}: it is a number of MB above 0")
