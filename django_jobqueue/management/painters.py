"""Ways to show a screen full of lines again and again: on a terminal, or line by line."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Protocol, TextIO

from django.core.management.base import OutputWrapper

#: What a terminal takes: another screen and back, the cursor away and back, the upper left
#: corner, the rest of the line and of the screen.
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, END_OF_LINE, END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"

#: The key that ends it.
QUIT = "q"


class Painter(Protocol):
    """Shows lines until it is closed."""

    @property
    def columns(self) -> int | None:
        """How wide a line may be; None for no limit."""

    def paint(self, lines: Sequence[str]) -> None:
        """Show these lines in the place of those before."""

    def wait(self, seconds: float) -> bool:
        """Wait, and return whether somebody wants to end it."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class BatchPainter:
    """Writes everything below what was before, for a file or a pipe."""

    columns = None

    def __init__(self, stream: OutputWrapper, *, is_spaced: bool) -> None:
        self._stream = stream
        self._is_spaced = is_spaced
        self._painted = False

    def paint(self, lines: Sequence[str]) -> None:
        """Write them; between two times there is an empty line where that is wanted."""
        if self._painted and self._is_spaced:
            self._stream.write("")
        self._painted = True
        for line in lines:
            self._stream.write(line)
        self._stream.flush()

    def wait(self, seconds: float) -> bool:
        """Wait; nobody is there to end it but by a signal."""
        time.sleep(seconds)
        return False

    def close(self) -> None:
        """Do nothing."""


class TerminalPainter:
    """Draws on the other screen of a terminal, which then shows again what was there."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._end = ExitStack()
        self._keys = self._end.enter_context(Keys())
        self._begin()

    @property
    def columns(self) -> int | None:
        """The width of the terminal as it is now."""
        return shutil.get_terminal_size().columns

    def _begin(self) -> None:
        self._end.callback(self._write, LEAVE)
        self._write(ENTER)

    def paint(self, lines: Sequence[str]) -> None:
        """Draw as many as there is room for, over those before so that nothing flickers."""
        room = shutil.get_terminal_size().lines - 1
        drawn = "".join(f"{line}{END_OF_LINE}\r\n" for line in lines[:room])
        self._write(f"{HOME}{drawn}{END_OF_SCREEN}")

    def wait(self, seconds: float) -> bool:
        """Wait, and return whether the key was pressed that ends it."""
        return self._keys.wait(seconds)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._end.close()

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class Keys:
    """Reads single keys from the terminal, where standard input is one."""

    def __init__(self) -> None:
        self._end = ExitStack()
        self._source: int | None = None

    def __enter__(self) -> Keys:
        with contextlib.suppress(OSError, ValueError):
            source = sys.stdin.fileno()
            if os.isatty(source):
                self._end.enter_context(_each_key(source))
                self._source = source
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    def wait(self, seconds: float) -> bool:
        """Wait so long; return at once, and True, when the key is pressed that ends it."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._source is None:
                time.sleep(left)
            elif select.select([self._source], [], [], left)[0]:
                typed = os.read(self._source, 100)
                if not typed or QUIT in typed.decode(errors="replace").lower():
                    return True
        return False


@contextlib.contextmanager
def _each_key(source: int) -> Iterator[None]:
    """Let the terminal hand over each key at once, and not show it."""
    import termios  # there is none on Windows
    import tty

    before = termios.tcgetattr(source)
    # At once: a terminal that shows nothing any more must not keep us from ending.
    tty.setcbreak(source, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(source, termios.TCSANOW, before)
