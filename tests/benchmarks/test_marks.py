"""What the jobs of peers leave behind, in their own interpreters, is what we read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.board import Board
from benchmarks.peers.peer import APPS
from tests.support.journal import Entry, Journal

#: Python without anything that is installed: of a peer's environment we know no more.
PYTHON = (sys.executable, "-S", "-c")

RUBY = ("ruby", "-e")

needs_sidekiq = pytest.mark.skipif(
    shutil.which("ruby") is None or shutil.which("sidekiq") is None,
    reason="Sidekiq is not installed",
)


def run(command: tuple[str, ...], program: str, directory: Path) -> None:
    """Run a program beside the jobs of the peers, with a board and a journal of its own."""
    subprocess.run(
        [*command, program],
        cwd=APPS,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "BENCHMARK_BOARD": str(directory / "board"),
            "BENCHMARK_JOURNAL": str(directory / "journal"),
        },
        check=True,
    )


def check_board(command: tuple[str, ...], program: str, directory: Path) -> None:
    board = Board.make(directory / "board", 3)
    run(command, program, directory)
    before, noted, after = (board.waits(range(n, n + 1))[0] for n in range(3))
    # Half a second ago it began, by the one clock that all of them read.
    assert 0.5 <= noted < 60.0
    assert before == after == 0.0


def check_journal(command: tuple[str, ...], program: str, directory: Path) -> None:
    Board.make(directory / "board", 1)
    journal = Journal(directory / "journal")
    journal.start("jid", "before")
    run(command, program, directory)
    assert journal.entries() == [
        Entry("S", "jid", "before"), Entry("S", "-", "one"), Entry("F", "-", "one"),
    ]  # fmt: skip


def test_our_board_reads_what_a_peer_in_python_wrote(tmp_path: Path) -> None:
    program = "import time, marks; marks.ran(1, time.monotonic() - 0.5)"
    check_board(PYTHON, program, tmp_path)


def test_our_journal_reads_what_a_peer_in_python_wrote(tmp_path: Path) -> None:
    check_journal(PYTHON, "import marks; marks.work('one', 0.001)", tmp_path)


@needs_sidekiq
def test_our_board_reads_what_a_peer_in_ruby_wrote(tmp_path: Path) -> None:
    program = "require './sidekiq_app'; Marks.ran(1, Marks.now - 0.5)"
    check_board(RUBY, program, tmp_path)


@needs_sidekiq
def test_our_journal_reads_what_a_peer_in_ruby_wrote(tmp_path: Path) -> None:
    program = "require './sidekiq_app'; Journal.new.perform('one', 0.001)"
    check_journal(RUBY, program, tmp_path)
