"""A page of memory where the processes of one ``runjobs`` show that they are well."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from enum import IntEnum

#: Numbers that each process shows.
WIDTH = 4


class State(IntEnum):
    """What a process does."""

    #: It is not there, or has not started yet.
    ABSENT = 0
    WORKING = 1
    #: Redis is away.
    AWAY = 2
    QUIET = 3
    STOPPING = 4
    #: It was stopped for good: nobody waits for it.
    FINISHED = 5


@dataclass(frozen=True, slots=True)
class Vital:
    """
    What one process showed last. Monotonic seconds: the clock is one for all processes.

    ``shown_at``: when; ``turned_at``: when the slowest of its loops last began a
    turn; ``served_at``: when Redis last gave it jobs, or had none.
    """

    state: State
    shown_at: float
    turned_at: float
    served_at: float


class Vitals:
    """
    One row for the supervisor (0) and one for each child (from 1), shared by forks.

    Each row has one writer at a time. To show something is to store four
    numbers; nobody waits for a reader, and a reader needs nobody's help, however
    stuck they are.
    """

    def __init__(self, children: int) -> None:
        self.children = children
        memory = mmap.mmap(-1, 8 * WIDTH * (children + 1))
        self._numbers = memoryview(memory).cast("d")
        #: The row of this process.
        self.row = 0

    def show(self, state: State, now: float, *, turned_at: float, served_at: float) -> None:
        """Write this process's row. Times in monotonic seconds."""
        at = self.row * WIDTH
        # The state last: whoever reads meanwhile must not find one that runs, and no times yet.
        for offset, number in ((1, now), (2, turned_at), (3, served_at), (0, float(state))):
            self._numbers[at + offset] = number

    def reset(self, row: int, state: State = State.ABSENT) -> None:
        """Write the row of a process that is not there."""
        at = row * WIDTH
        for offset, number in enumerate((float(state), 0.0, 0.0, 0.0)):
            self._numbers[at + offset] = number

    def read(self, row: int) -> Vital:
        """Return what stands in a row."""
        state, *times = self._numbers[row * WIDTH : (row + 1) * WIDTH].tolist()
        return Vital(State(int(state)), *times)
