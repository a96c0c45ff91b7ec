"""The journal tells how often each job was begun, what was killed, and who worked at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testproject.backups.journal import VARIABLE, Journal, Running, attempt, holding


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


def write(journal: Journal, *lines: str) -> None:
    """Write lines of other processes: verb, jid, database, process, group."""
    with journal.path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
    journal.read()


def test_two_jobs_that_hold_a_database_at_once_are_found(journal: Journal) -> None:
    with holding("a" * 24, 7), holding("b" * 24, 8), holding("b" * 24, 7):
        journal.read()
    assert journal.doubled == {7}


def test_a_job_after_the_other_is_not_beside_it(journal: Journal) -> None:
    for jid in ("a" * 24, "b" * 24):
        with holding(jid, 7):
            pass
    journal.read()
    assert journal.doubled == set()


def test_a_second_attempt_of_the_same_job_is_the_same_job(journal: Journal) -> None:
    write(journal, "taken aaaa 7 100 200", "taken aaaa 7 101 200", "left aaaa 7 100 200")
    assert journal.doubled == set()
    write(journal, "taken bbbb 7 102 200")
    assert journal.doubled == {7}


def test_a_job_that_was_skipped_has_held_nothing(journal: Journal) -> None:
    write(journal, "begun aaaa 7 100 200", "taken aaaa 7 100 200", "begun bbbb 7 101 200")
    assert journal.doubled == set()


def test_what_a_killed_process_held_is_free_and_no_longer_under_way(journal: Journal) -> None:
    for pid in (100, 101):
        write(journal, f"begun aaaa {pid} {pid} 200", f"taken aaaa {pid} {pid} 200")
    journal.note_death(200, 100)
    write(journal, "taken bbbb 100 300 300")
    assert journal.running(200) == [Running("aaaa", 101, 101, 200)]
    assert journal.doubled == set()
    write(journal, "taken bbbb 101 300 300")
    assert journal.doubled == {101}


def test_what_a_killed_group_held_is_free(journal: Journal) -> None:
    write(journal, "begun aaaa 7 100 200", "taken aaaa 7 100 200", "taken aaaa 8 100 201")
    journal.note_death(200)
    write(journal, "taken bbbb 7 300 300", "taken bbbb 8 300 300")
    assert journal.running(200) == []
    assert journal.doubled == {8}
