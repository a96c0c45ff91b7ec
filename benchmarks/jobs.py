"""The jobs that are raced. Each notes on the board that it ran."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from functools import cache
from pathlib import Path

from django.db.models import QuerySet

from benchmarks.board import Board
from benchmarks.models import Order
from django_jobqueue import Job
from django_jobqueue.reconciliation import Reconciler

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


class Blob(Job):
    """Does nothing with much."""

    def perform(self, number: int, text: str) -> None:
        """Note the time."""
        board().ran(number, time.monotonic())


class Unique(NoOp):
    """Does nothing either, once at a time for each number."""

    unique_for = timedelta(minutes=10)


class ScheduleUnique(Reconciler):
    """Enqueues that for every pending order."""

    job = Unique

    def get_queryset(self) -> QuerySet[Order]:
        """Return the pending orders."""
        return Order.objects.filter(state="pending")


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
