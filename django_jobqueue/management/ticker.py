"""Show how far something is that takes long, on a terminal and nowhere else."""

from __future__ import annotations

from types import TracebackType

from django.core.management.base import BaseCommand

from django_jobqueue import clock
from django_jobqueue.api import Progress

#: Seconds between two looks at it.
PACE = 0.5


class Ticker:
    """A line on standard error that is written over, and cleared at the end."""

    def __init__(self, command: BaseCommand) -> None:
        self._stream = command.stderr
        self._is_shown = self._stream.isatty()
        self._next = clock.monotonic() + PACE
        self._written = 0
        #: Jobs that are done by now, for who writes that down.
        self.done = 0

    def __enter__(self) -> Ticker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._written:
            self._write("")

    def tell(self, progress: Progress) -> None:
        """Take in how far it is."""
        self.done = progress.done
        if self._is_shown and clock.monotonic() >= self._next:
            self._next = clock.monotonic() + PACE
            self._write(
                f"{progress.looked_at:,} of {progress.total:,} looked at, {progress.done:,} done"
            )

    def _write(self, line: str) -> None:
        # Without a style, which would be written around the carriage return as well.
        self._stream.write(f"\r{line:<{self._written}}\r{line}", lambda text: text, ending="")
        self._stream.flush()
        self._written = len(line)
