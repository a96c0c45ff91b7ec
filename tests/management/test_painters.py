"""What ``top`` draws on, and how it is ended."""

from __future__ import annotations

import os
import pty
import select
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import TextIO

import pytest
from django.core.management import call_command
from django.core.management.base import OutputWrapper

from django_jobqueue.management.painters import (
    ENTER,
    HOME,
    LEAVE,
    BatchPainter,
    Keys,
    TerminalPainter,
)
from django_jobqueue.management.rich_painter import RichPainter
from tests.conftest import JobqueueSettings


@dataclass
class Terminal:
    """A terminal: ``end`` is where keys are pressed and what is drawn is read."""

    end: int
    stream: TextIO

    def drawn(self) -> str:
        """Return what was drawn so far."""
        self.stream.flush()
        found = b""
        while select.select([self.end], [], [], 0)[0]:
            found += os.read(self.end, 65_536)
        return found.decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal that is standard input."""
    end, other = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with open(other, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield Terminal(end, stream)
    os.close(end)


def test_in_a_batch_everything_is_written_one_below_the_other() -> None:
    for is_spaced, written in ((True, "a\nb\n\nc\n"), (False, "a\nb\nc\n")):
        out = StringIO()
        painter = BatchPainter(OutputWrapper(out), is_spaced=is_spaced)
        painter.paint(["a", "b"])
        assert painter.wait(0) is False
        painter.paint(["c"])
        painter.close()
        assert (out.getvalue(), painter.columns) == (written, None)


def test_a_terminal_is_drawn_over_and_left_as_it_was(terminal: Terminal) -> None:
    before = termios.tcgetattr(terminal.stream.fileno())
    painter = TerminalPainter(terminal.stream)
    assert termios.tcgetattr(terminal.stream.fileno()) != before
    painter.paint(["a line", *["more"] * 1000])
    painter.close()
    drawn = terminal.drawn()
    assert drawn.startswith(f"{ENTER}{HOME}a line")
    assert drawn.endswith(LEAVE)
    assert drawn.count("more") < 1000
    assert termios.tcgetattr(terminal.stream.fileno()) == before
    assert painter.columns


def test_the_key_q_ends_the_wait_and_no_other_does(terminal: Terminal) -> None:
    with Keys() as keys:
        os.write(terminal.end, b"x\x1b[A")
        assert keys.wait(0.05) is False
        os.write(terminal.end, b"q")
        assert keys.wait(60) is True


def test_without_a_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("q"))
    with Keys() as keys:
        assert keys.wait(0) is False


def test_rich_draws_text_and_no_markup(terminal: Terminal) -> None:
    painter = RichPainter(terminal.stream)
    painter.paint(["! [red]a job[/red]", "QUEUE  JOBS", ""])
    painter.close()
    assert "[red]a job[/red]" in terminal.drawn()


@pytest.mark.parametrize("with_rich", [True, False])
def test_top_draws_on_a_terminal_until_q_is_pressed(
    terminal: Terminal,
    jobqueue_settings: JobqueueSettings,
    monkeypatch: pytest.MonkeyPatch,
    with_rich: bool,
) -> None:
    jobqueue_settings()
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    if not with_rich:
        monkeypatch.setitem(sys.modules, "django_jobqueue.management.rich_painter", None)
    os.write(terminal.end, b"q")
    call_command("jobqueue", "top", "--interval", "60", stdout=terminal.stream)
    assert "processed" in terminal.drawn()
