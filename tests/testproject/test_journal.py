"""The journal tells how often each job was begun, and what was running when its process died."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testproject.backups.journal import VARIABLE, Journal, Running, attempt


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """The journal of this process."""
    path = tmp_path / "journal"
    monkeypatch.setenv(VARIABLE, str(path))
    return Journal(path)


def test_an_attempt_under_way_is_seen_and_one_that_ended_is_not(journal: Journal) -> None:
    journal.read()
    assert journal.running(os.getpgid(0)) == []
    with attempt("a" * 24, 7):
        journal.read()
        assert journal.running(os.getpgid(0)) == [Running("a" * 24, 7, os.getpid(), os.getpgid(0))]
        assert journal.running(1) == []
    journal.read()
    assert journal.running(os.getpgid(0)) == []
    assert (journal.begun[7], journal.ended[7]) == (1, 1)


def test_an_attempt_that_failed_is_not_under_way(journal: Journal) -> None:
    with pytest.raises(ZeroDivisionError), attempt("a" * 24, 7):
        raise ZeroDivisionError
    journal.read()
    assert journal.running(os.getpgid(0)) == []


def test_every_start_counts(journal: Journal) -> None:
    for database_id in (7, 8, 7):
        with attempt("a" * 24, database_id):
            pass
        journal.read()
    assert journal.begun == {7: 2, 8: 1}


def test_half_a_line_waits_for_its_end(journal: Journal) -> None:
    line = b"begun aaaa 7 100 200\n"
    journal.path.write_bytes(line[:9])
    journal.read()
    assert journal.begun.total() == 0
    journal.path.write_bytes(line)
    journal.read()
    assert journal.running(200) == [Running("aaaa", 7, 100, 200)]


def test_without_the_variable_nothing_is_written(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    with attempt("a" * 24, 7):
        pass
    assert not journal.path.exists()
