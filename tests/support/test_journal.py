"""The journal: whole lines, from many processes, that outlive ``kill -9``."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.support.journal import Entry, Journal
from tests.support.processes import ROOT, Process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def test_it_counts_starts_and_finishes_by_ident(path: Path) -> None:
    journal = Journal(path)
    journal.start("a1", 7)
    journal.finish("a1", 7)
    journal.start("a1", 7)
    journal.start("b2", "eight")
    assert journal.starts == Counter({"7": 2, "eight": 1})
    assert journal.finishes == Counter({"7": 1})
    assert journal.entries()[-1] == Entry("S", "b2", "eight")
    journal.close()


def test_a_journal_that_nobody_wrote_to_is_empty(path: Path) -> None:
    assert Journal(path).entries() == []


def test_work_that_raises_is_not_finished(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(KeyError), journal.running("a1", 1):
        raise KeyError
    assert (journal.starts["1"], journal.finishes["1"]) == (1, 0)
    journal.close()


def test_a_torn_last_line_does_not_count(path: Path) -> None:
    path.write_text("S a1 1\nF a1")
    assert Journal(path).entries() == [Entry("S", "a1", "1")]


def test_what_was_read_need_not_be_read_again(path: Path) -> None:
    path.write_text("S a1 1\nF a1")
    journal = Journal(path)
    entries, offset = journal.entries_from(0)
    assert entries == [Entry("S", "a1", "1")]
    assert journal.entries_from(offset) == ([], offset)
    with path.open("a") as file:
        file.write(" 1\n")
    assert journal.entries_from(offset)[0] == [Entry("F", "a1", "1")]


@pytest.mark.parametrize("ident", ["two words", "two\nlines", "", " "])
def test_an_ident_must_be_one_word(path: Path, ident: str) -> None:
    with pytest.raises(ValueError, match="three words a line"):
        Journal(path).start("a1", ident)
    assert not path.exists()


def test_a_line_that_is_none_is_told(path: Path) -> None:
    path.write_text("X a1 1\n")
    with pytest.raises(ValueError, match="not a line of a journal"):
        Journal(path).entries()


def test_a_killed_process_keeps_what_it_wrote(path: Path, tmp_path: Path) -> None:
    script = f"""
        from tests.support.journal import Journal
        journal = Journal({str(path)!r})
        journal.start("a1", 1)
        print("written")
        import time; time.sleep(600)
        journal.finish("a1", 1)
    """
    command = [sys.executable, "-c", "\n".join(line.strip() for line in script.splitlines())]
    with Process(command, tmp_path / "log") as process:
        process.wait_for_line("written")
        process.kill9_group()
    assert Journal(path).entries() == [Entry("S", "a1", "1")]


def test_lines_of_threads_and_processes_do_not_mix(path: Path) -> None:
    script = (
        "import sys; from tests.support.journal import Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "for n in range(300): journal.start('p' * 24, n)"
    )
    others = [
        subprocess.Popen([sys.executable, "-c", script, str(path)], cwd=ROOT) for _ in range(2)
    ]
    journal = Journal(path)

    def write() -> None:
        for n in range(300):
            journal.start("t" * 24, n)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(60) for other in others] == [0, 0]
    assert set(journal.starts.values()) == {4}
    assert len(journal.starts) == 300
    journal.close()
