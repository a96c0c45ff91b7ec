"""The jobs that have crashed a worker before: they run one at a time, so that one can be blamed."""

from __future__ import annotations

from collections import deque

from django_jobqueue.worker.held import Held

#: Jobs that may wait for their turn without taking the place of sound ones.
PATIENCE = 100


class Suspects:
    """Those that wait for their turn, and the one that has it. For the fetcher's thread."""

    def __init__(self) -> None:
        self._waiting: deque[Held] = deque()
        #: The one that is being run.
        self.current: Held | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, held: Held) -> None:
        """Let a job wait for its turn."""
        self._waiting.append(held)

    @property
    def next(self) -> Held | None:
        """The one to start now; None while another one runs."""
        return self._waiting[0] if self._waiting and self.current is None else None

    @property
    def excess(self) -> int:
        """How many are too many: they count as if they were sound."""
        return max(0, len(self._waiting) - PATIENCE)

    @property
    def since(self) -> list[float]:
        """When those that wait were claimed, on the monotonic clock."""
        return [held.since for held in self._waiting]

    def begin(self) -> Held:
        """Give the next one its turn."""
        self.current = self._waiting.popleft()
        return self.current

    def forget(self, held: Held) -> None:
        """Note that a job has ended, or is ours no more."""
        if held is self.current:
            self.current = None
        elif held in self._waiting:
            self._waiting.remove(held)

    def take_older(self, moment: float) -> list[Held]:
        """Return those that have waited since before a moment, and forget them."""
        old = [held for held in self._waiting if held.since <= moment]
        for held in old:
            self._waiting.remove(held)
        return old
