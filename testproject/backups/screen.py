"""What a demonstration says, and where: a live bar for people, plain lines for files and pipes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TextIO


class RichMissing(Exception):
    """A terminal wants the live bar, and rich is not installed."""

    def __str__(self) -> str:
        return (
            "The live progress bar needs rich: pip install 'django-jobqueue[cli]', or send the "
            "output through a pipe (| cat) for plain lines."
        )


class Screen(Protocol):
    """Somewhere to tell the story of a demonstration."""

    def say(self, text: str) -> None:
        """Tell something that happened."""

    def begin(self, what: str, total: int) -> None:
        """Begin a stretch of ``total`` steps; the one before is over."""

    def reach(self, done: int, remark: str = "") -> None:
        """Show how many steps of the stretch are done, and why it may stand still."""

    def tabulate(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Show the summary."""

    def close(self) -> None:
        """Leave the terminal as it was. Idempotent."""


class PlainScreen:
    """Lines, and no more of them than a log can bear: one for each quarter of a stretch."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._what = ""
        self._total = 0
        self._quarters = 0
        self._remark = ""

    def say(self, text: str) -> None:
        """Write a line at once."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def begin(self, what: str, total: int) -> None:
        """Write nothing yet."""
        self._what, self._total, self._quarters, self._remark = what, total, 0, ""

    def reach(self, done: int, remark: str = "") -> None:
        """Write a line when another quarter is done, or there is something new to remark."""
        quarters = 4 * done // max(self._total, 1)
        if quarters > self._quarters:
            self.say(f"  {self._what}: {done} of {self._total}")
        if remark and remark != self._remark:
            self.say(f"  {remark}")
        # One that goes and comes again is no news.
        self._quarters, self._remark = max(quarters, self._quarters), remark or self._remark

    def tabulate(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Write two aligned columns."""
        width = max(len(name) for name, _ in rows)
        self.say("\n" + title)
        for name, value in rows:
            self.say(f"  {name:<{width}}  {value}")

    def close(self) -> None:
        """Do nothing: a line once written stays."""


def open_screen(stream: TextIO) -> Screen:
    """
    Return the screen that fits a stream.

    Raises:
        RichMissing: the stream is a terminal, and the extra is not installed.
    """
    if not stream.isatty():
        return PlainScreen(stream)
    try:
        # rich is an extra: this import is all that needs it.
        from testproject.backups.terminal import TerminalScreen
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "rich":
            raise
        raise RichMissing from error
    return TerminalScreen(stream)
