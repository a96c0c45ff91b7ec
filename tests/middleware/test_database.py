"""Every job finds a clean database connection and leaves no transaction behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobqueue import Job, Payload
from django_jobqueue.job.attempt import Attempt
from django_jobqueue.middleware.database import DatabaseHygiene
from testproject.backups.models import Database


class NoteJob(Job):
    """What runs is the test's own function."""

    def perform(self, *args: Any) -> None:
        """Do nothing."""


class RowJob(Job):
    """Writes a row, and may leave a transaction open."""

    def perform(self, name: str, how: str = "") -> int:
        """Return the number of rows."""
        if how == "open":
            transaction.atomic().__enter__()
        Database.objects.create(name=name, path=f"{name}.sqlite3")
        if how == "fail":
            raise ValueError(name)
        return Database.objects.count()


def job(*, inline: bool = False) -> Job:
    payload = Payload({"class": "shop.jobs.NoteJob", "args": [], "jid": "b" * 24})
    return NoteJob.for_attempt(Attempt(payload, "default", 0.0, inline=inline))


def run(act: Callable[[], Any], *, inline: bool = False) -> Any:
    """Run something as a job, with nothing but this middleware around it."""
    return DatabaseHygiene(lambda job: act())(job(inline=inline))


def write(word: str) -> None:
    with connections["other"].cursor() as cursor:
        cursor.execute("INSERT INTO note VALUES (%s)", [word])


def words() -> list[str]:
    """Return what is committed, by a connection of its own."""
    mine = connections.create_connection("other")
    try:
        with mine.cursor() as cursor:
            cursor.execute("SELECT word FROM note ORDER BY word")
            return [word for (word,) in cursor.fetchall()]
    finally:
        mine.close()


def in_a_sound_transaction(word: str) -> None:
    with transaction.atomic(using="other"), transaction.atomic(using="other"):
        write(word)


def in_a_durable_transaction(word: str) -> None:
    # Django refuses it where it believes that another block is around it.
    with transaction.atomic(using="other", durable=True):
        write(word)


# Around each job ---------------------------------------------------------------------


def test_the_result_and_the_exception_of_a_job_come_through(
    other_database: BaseDatabaseWrapper,
) -> None:
    assert run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0)


def test_what_a_job_commits_stays(other_database: BaseDatabaseWrapper) -> None:
    run(lambda: write("plain"))
    run(lambda: in_a_sound_transaction("atomic"))
    assert words() == ["atomic", "plain"]


def test_a_connection_whose_time_is_over_is_closed_before_the_job(
    other_database: BaseDatabaseWrapper,
) -> None:
    other_database.ensure_connection()
    other_database.close_at = 0.0
    seen: list[Any] = []
    run(lambda: seen.append(other_database.connection))
    assert seen == [None]


def test_a_connection_whose_time_is_over_is_closed_after_the_job(
    other_database: BaseDatabaseWrapper,
) -> None:
    def use() -> None:
        write("a")
        other_database.close_at = 0.0

    run(use)
    assert other_database.connection is None


def test_a_sound_connection_that_may_stay_is_kept(other_database: BaseDatabaseWrapper) -> None:
    other_database.ensure_connection()
    kept = other_database.connection
    run(lambda: write("a"))
    assert other_database.connection is kept


@pytest.mark.parametrize("error", [None, ValueError("no"), SystemExit(1)], ids=repr)
def test_a_broken_connection_is_replaced_for_the_next_job(
    other_database: BaseDatabaseWrapper,
    error: BaseException | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # SQLite calls every connection usable; a server's is asked with a query.
    monkeypatch.setattr(other_database, "is_usable", lambda: False)

    def break_it() -> None:
        other_database.ensure_connection()
        other_database.connection.close()
        with suppress(DatabaseError):
            write("never")
        if error is not None:
            raise error

    with suppress(ValueError, SystemExit):
        run(break_it)
    run(lambda: write("after"))
    assert words() == ["after"]


# Transactions left open -----------------------------------------------------------------


def open_block() -> None:
    transaction.atomic(using="other").__enter__()
    write("left")


def open_nested_blocks() -> None:
    open_block()
    transaction.atomic(using="other").__enter__()
    transaction.on_commit(lambda: pytest.fail("it was never committed"), using="other")
    write("deeper")


def open_broken_block() -> None:
    open_block()
    inner = transaction.atomic(using="other")
    with suppress(DatabaseError), inner, connections["other"].cursor() as cursor:
        cursor.execute("SELECT nonsense")
    transaction.set_rollback(True, using="other")


def leave_autocommit_off() -> None:
    transaction.set_autocommit(False, using="other")
    write("left")


def open_and_raise() -> None:
    open_block()
    raise ValueError("in the middle")


@pytest.mark.parametrize(
    "leave", [open_block, open_nested_blocks, open_broken_block, leave_autocommit_off]
)
def test_a_transaction_that_a_job_left_open_is_rolled_back_with_a_warning(
    other_database: BaseDatabaseWrapper,
    leave: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(leave)
    assert words() == []
    assert caplog.messages == [
        f"shop.jobs.NoteJob jid={'b' * 24} left a transaction open on database 'other'; "
        "it is rolled back"
    ]
    run(lambda: in_a_sound_transaction("after"))
    run(lambda: in_a_durable_transaction("later"))
    assert words() == ["after", "later"]
    assert len(caplog.messages) == 1


def test_a_transaction_left_open_by_a_job_that_raised_is_rolled_back_too(
    other_database: BaseDatabaseWrapper, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="in the middle"):
        run(open_and_raise)
    assert words() == []
    assert "left a transaction open" in caplog.text
    run(lambda: in_a_sound_transaction("after"))
    assert words() == ["after"]


def test_a_transaction_that_was_open_before_a_job_does_not_take_its_writes_along(
    other_database: BaseDatabaseWrapper, caplog: pytest.LogCaptureFixture
) -> None:
    open_block()
    run(lambda: write("mine"))
    assert words() == ["mine"]
    assert caplog.messages == [
        f"What ran before shop.jobs.NoteJob jid={'b' * 24} left a transaction open on database "
        "'other'; it is rolled back"
    ]


# In line ---------------------------------------------------------------------------------


@pytest.fixture
def hygiene(settings: Any) -> None:
    """Jobs run in line through this middleware and no other."""
    settings.JOBQUEUE = {
        "OUTLET": "inline",
        "SERVER_MIDDLEWARE": ["django_jobqueue.middleware.database.DatabaseHygiene"],
    }


@pytest.mark.django_db
@pytest.mark.usefixtures("hygiene")
def test_a_job_in_line_leaves_the_transaction_of_a_test_case_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert RowJob.perform_inline("first") == 1
    with transaction.atomic():
        assert RowJob.perform_inline("second") == 2
    with pytest.raises(ValueError, match="third"):
        RowJob.perform_inline("third", "fail")
    assert Database.objects.count() == 3
    assert "left a transaction open" not in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("hygiene")
def test_a_job_in_line_leaves_the_transaction_of_its_caller_alone() -> None:
    with transaction.atomic():
        Database.objects.create(name="callers", path="callers.sqlite3")
        assert RowJob.perform_inline("jobs") == 2
    assert Database.objects.count() == 2


def test_a_job_in_line_leaves_the_connection_of_its_caller_open(
    other_database: BaseDatabaseWrapper,
) -> None:
    other_database.ensure_connection()
    other_database.close_at = 0.0
    kept = other_database.connection
    run(lambda: write("a"), inline=True)
    assert other_database.connection is kept


def test_a_job_in_line_leaves_no_transaction_of_its_own(
    other_database: BaseDatabaseWrapper,
) -> None:
    run(open_block, inline=True)
    assert words() == []
    in_a_sound_transaction("after")
    assert words() == ["after"]


@pytest.mark.usefixtures("hygiene")
def test_a_job_in_line_touches_no_database_by_itself() -> None:
    # Without a database for this test, a connection would be an error of its own.
    assert NoteJob.perform_inline() is None
