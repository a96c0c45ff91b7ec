"""How far a burst has come: a bar on a terminal, a line at the end anywhere."""

from __future__ import annotations

import contextlib
import sys
from importlib import import_module
from typing import Any

from django_jobqueue import clock
from django_jobqueue.exceptions import StoreError
from django_jobqueue.store.store import Store

#: Seconds between two looks at the queues.
LOOK = 0.25


class Progress:
    """
    Watches the queues from outside while workers drain them.

    The bar needs ``rich`` (the extra ``cli``); without it, or without a
    terminal, only the last line is printed.
    """

    def __init__(self, store: Store, queues: list[str]) -> None:
        self._store = store
        self._queues = queues
        self._bar: Any = None
        self._task: Any = None
        self._began = clock.monotonic()
        self._looked = 0.0
        self._processed_before = 0

    def begin(self) -> None:
        """Start from what is in the queues now."""
        waiting = 0
        with contextlib.suppress(StoreError):  # the workers will tell of it
            self._processed_before = self._store.stats.counters()["processed"]
            waiting = sum(self._store.queues.sizes(self._queues).values())
        self._began = clock.monotonic()
        if sys.stderr.isatty():
            try:
                progress, console = import_module("rich.progress"), import_module("rich.console")
            except ModuleNotFoundError:
                return
            self._bar = progress.Progress(console=console.Console(stderr=True), transient=True)
            self._task = self._bar.add_task("jobs", total=waiting)
            self._bar.start()

    def update(self) -> None:
        """Look at the queues again, if the last look is some time ago."""
        now = clock.monotonic()
        if self._bar is None or now - self._looked < LOOK:
            return
        self._looked = now
        try:
            waiting = sum(self._store.queues.sizes(self._queues).values())
            done = self._done()
        except StoreError:
            return  # the workers tell of it; the bar stands still
        self._bar.update(self._task, total=done + waiting, completed=done)

    def end(self) -> None:
        """Take the bar away and say how much was done."""
        if self._bar is not None:
            self._bar.stop()
        try:
            done = self._done()
        except StoreError:
            return  # told by the workers
        sys.stderr.write(f"{done} jobs in {clock.monotonic() - self._began:.1f} s\n")

    def _done(self) -> int:
        return self._store.stats.counters()["processed"] - self._processed_before
