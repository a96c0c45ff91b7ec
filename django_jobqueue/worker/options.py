"""What a worker process was asked to do: the flags of ``runjobs``, checked."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from django_jobqueue.exceptions import BootError, InvalidQueueName
from django_jobqueue.payload import check_queue_name


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
    """The flags of one ``runjobs``. Durations in seconds."""

    queues: QueueOrder
    concurrency: int = 10
    processes: int = 1
    timeout: float = 25.0
    burst: bool = False
    lease: float = 60.0
    ack_each: bool = False

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise BootError(f"--concurrency {self.concurrency}: it is a number from 1 on")
        if self.processes < 1:
            raise BootError(f"--processes {self.processes}: it is a number from 1 on")
        if not self.timeout >= 0:
            raise BootError(f"--timeout {self.timeout}: it is a number of seconds from 0 on")
