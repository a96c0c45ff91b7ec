"""The board that jobs write their times on: shared memory, so that nobody polls Redis for them."""

from __future__ import annotations

import mmap
import time
from pathlib import Path
from typing import Protocol

#: Seconds between two looks at whether all jobs have run, and without news before we give up.
LOOK = 0.01
PATIENCE = 60.0

#: Bytes of one job's entry: when it began and when it ended.
ENTRY = 16


class Runner(Protocol):
    """Whoever runs the jobs: a process, or several."""

    def poll(self) -> int | None:
        """Return the exit code when it has ended, None while it runs."""


class Board:
    """
    When each job began and ended, by its number, on CLOCK_MONOTONIC in seconds.

    A file that several processes map. A job that has not run has zeros.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._times = memoryview(self._map).cast("d")

    @classmethod
    def make(cls, path: Path, jobs: int) -> Board:
        """Return a blank board for the job numbers from 0 to ``jobs`` - 1, in a new file."""
        path.write_bytes(bytes(ENTRY * jobs))
        return cls(path)

    def ran(self, number: int, began: float) -> None:
        """Note that a job ends now."""
        at = 2 * number
        self._times[at] = began
        self._times[at + 1] = time.monotonic()

    def wait(self, numbers: range, runner: Runner) -> None:
        """Wait until these jobs have run. Raises: RuntimeError when the runner ends or halts."""
        left = numbers
        heard = time.monotonic()
        while left:
            # Jobs run in about the order of their numbers: begin where we ended.
            at = next((n for n in left if not self._times[2 * n + 1]), numbers.stop)
            if at > left.start:
                heard = time.monotonic()
                left = range(at, numbers.stop)
                continue
            if runner.poll() is not None or time.monotonic() - heard > PATIENCE:
                raise RuntimeError(f"job {at} of {numbers} has not run")
            time.sleep(LOOK)

    def took(self, numbers: range) -> float:
        """Return the seconds from the first start to the last end of these jobs."""
        at = slice(2 * numbers.start, 2 * numbers.stop)
        times = self._times[at].tolist()
        return max(times[1::2]) - min(times[::2])

    def waits(self, numbers: range) -> list[float]:
        """Return the seconds from ``began`` to the end of each of these jobs, sorted."""
        times = self._times[2 * numbers.start : 2 * numbers.stop].tolist()
        return sorted(end - began for began, end in zip(times[::2], times[1::2], strict=True))
