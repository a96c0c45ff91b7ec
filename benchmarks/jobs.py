"""The jobs that are raced. Each notes on the board that it ran."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path

from benchmarks.board import Board
from django_jobqueue import Job

#: Seconds that a job of ``Sleep`` takes.
SLEEP = 0.005


@cache
def board() -> Board:
    """Return the board of this run, which the environment names."""
    return Board(Path(os.environ["BENCHMARK_BOARD"]))


class NoOp(Job):
    """Does nothing."""

    def perform(self, number: int) -> None:
        """Note the time."""
        board().ran(number, time.monotonic())


class Sleep(Job):
    """Waits, as for a database or somebody's API."""

    def perform(self, number: int) -> None:
        """Sleep, and note the time."""
        began = time.monotonic()
        time.sleep(SLEEP)
        board().ran(number, began)


class Handover(Job):
    """Tells how long it was on its way."""

    def perform(self, number: int, sent_at: float) -> None:
        """Note when it was sent, and the time."""
        board().ran(number, sent_at)
