"""Connections around a piece of work: sound at its start, nothing open at its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobqueue import clock as package_clock
from django_jobqueue import databases
from tests.support import sql_settings
from tests.support.clocks import FrozenClock, freeze
from tests.support.databases import (
    JOBS,
    other_database,
    real_server,
    real_servers,
    server_database,
)
from tests.support.polling import wait_until
from tests.support.sql_server import SqlServer

__all__ = ["other_database", "real_server", "real_servers", "server_database"]

LEFT = "shop.jobs.Left left a transaction open on database {!r}; it is rolled back"


def work(alias: str, word: str) -> None:
    """Write a word as a job would, with what a worker does around it."""
    databases.prepare("shop.jobs.Work")
    try:
        write(alias, word)
    finally:
        databases.settle("shop.jobs.Work")


def write(alias: str, word: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("INSERT INTO note VALUES (%s)", [word])


def words(alias: str) -> list[str]:
    """Return what is committed, by a connection of its own."""
    mine = connections.create_connection(alias)
    try:
        with mine.cursor() as cursor:
            cursor.execute("SELECT word FROM note ORDER BY word")
            return [word for (word,) in cursor.fetchall()]
    finally:
        mine.close()


def in_another_thread(act: Callable[[], Any]) -> Any:
    def act_and_close() -> Any:
        try:
            return act()
        finally:
            databases.close("the test")

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act_and_close).result()


# What happens to a connection that nobody uses, on real servers ----------------------


def cut(server: SqlServer) -> None:
    server.cut_connections()


def restart(server: SqlServer) -> None:
    server.stop()
    server.resume()


@pytest.mark.sql
@pytest.mark.parametrize("happen", [cut, restart])
def test_what_happened_between_two_pieces_of_work_fails_none(
    real_server: SqlServer,
    server_database: BaseDatabaseWrapper,
    happen: Callable[[SqlServer], None],
) -> None:
    work("server", "before")
    assert server_database.connection is not None  # CONN_MAX_AGE is None, as is usual
    assert not server_database.settings_dict["CONN_HEALTH_CHECKS"]
    happen(real_server)
    work("server", "now")
    happen(real_server)
    databases.prepare("shop.jobs.Work")
    with transaction.atomic(using="server"):  # a block asks for its connection in another way
        write("server", "then")
    databases.settle("shop.jobs.Work")
    assert words("server") == ["before", "now", "then"]


@pytest.mark.sql
def test_a_server_may_end_who_is_idle(
    real_server: SqlServer, server_database: BaseDatabaseWrapper
) -> None:
    server_database.close()
    with real_server.expiring():
        work("server", "before")
        idle = server_database.connection
        wait_until(lambda: databases._is_gone(server_database), what="the time-out")
        assert server_database.connection is idle
        work("server", "after")
        assert server_database.connection is not idle
    assert words("server") == ["after", "before"]


@pytest.mark.sql
def test_a_sound_connection_of_a_server_is_kept(server_database: BaseDatabaseWrapper) -> None:
    work("server", "first")
    kept = server_database.connection
    for word in ("second", "third"):
        work("server", word)
    assert server_database.connection is kept


@pytest.mark.sql
def test_a_connection_that_breaks_in_a_piece_of_work_is_replaced_for_the_next(
    real_server: SqlServer, server_database: BaseDatabaseWrapper
) -> None:
    databases.prepare("shop.jobs.Broken")
    with transaction.atomic(using="server"):
        write("server", "kept")
    transaction.atomic(using="server").__enter__()
    write("server", "lost")
    real_server.cut_connections()
    with pytest.raises(DatabaseError):
        write("server", "never")
    databases.settle("shop.jobs.Broken")
    work("server", "next")
    assert words("server") == ["kept", "next"]


@pytest.mark.sql
def test_a_connection_that_was_closed_behind_django_s_back_is_replaced(
    server_database: BaseDatabaseWrapper,
) -> None:
    server_database.connection.close()
    work("server", "after")
    assert words("server") == ["after"]


# Transactions left open, on real servers ----------------------------------------------


def block(alias: str) -> None:
    transaction.atomic(using=alias).__enter__()
    write(alias, "left")


def sql(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("BEGIN")
    write(alias, "left")


def autocommit(alias: str) -> None:
    transaction.set_autocommit(False, using=alias)
    write(alias, "left")


def broken(alias: str) -> None:
    block(alias)
    with pytest.raises(DatabaseError), connections[alias].cursor() as cursor:
        cursor.execute("SELECT nonsense")


def broken_by_sql(alias: str) -> None:
    sql(alias)
    with pytest.raises(DatabaseError), connections[alias].cursor() as cursor:
        cursor.execute("SELECT nonsense")


LEAVE = [block, sql, autocommit, broken, broken_by_sql]


@pytest.mark.sql
@pytest.mark.parametrize("leave", LEAVE)
def test_a_transaction_that_was_left_open_is_over_at_once(
    server_database: BaseDatabaseWrapper,
    leave: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    work("server", "row")
    databases.prepare("shop.jobs.Left")
    with server_database.cursor() as cursor:
        leave("server")
        if leave not in (broken, broken_by_sql):
            cursor.execute("SELECT * FROM note FOR UPDATE")
    databases.settle("shop.jobs.Left")
    assert caplog.messages == [LEFT.format("server")]
    # Nor is a lock left: the next job, in another thread, would skip the row.
    mine = connections.create_connection("server")
    with mine.cursor() as cursor:
        cursor.execute("SELECT word FROM note FOR UPDATE NOWAIT")
        assert list(cursor.fetchall()) == [("row",)]
    mine.close()
    work("server", "after")
    assert words("server") == ["after", "row"]


@pytest.mark.sql
def test_a_transaction_of_what_ran_before_ends_before_a_piece_of_work(
    server_database: BaseDatabaseWrapper, caplog: pytest.LogCaptureFixture
) -> None:
    # The job would run in it, be acknowledged, and lose what it wrote.
    sql("server")
    work("server", "mine")
    assert words("server") == ["mine"]
    assert ["What ran before shop.jobs.Work left" in text for text in caplog.messages] == [True]


# The same without a server ---------------------------------------------------------------


@pytest.mark.parametrize("leave", LEAVE)
def test_a_transaction_that_was_left_open_on_sqlite_is_over_at_once(
    other_database: BaseDatabaseWrapper,
    leave: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    databases.prepare("shop.jobs.Left")
    leave("other")
    databases.settle(lambda: "shop.jobs.Left")
    in_another_thread(lambda: work("other", "at once"))  # it would wait for the one writer
    work("other", "then")
    assert words("other") == ["at once", "then"]
    assert caplog.messages == [LEFT.format("other")]


def test_a_connection_that_was_closed_in_a_block_that_never_ended_is_of_use_again(
    other_database: BaseDatabaseWrapper,
) -> None:
    databases.prepare("shop.jobs.Left")
    block("other")
    other_database.close()
    other_database.connection = None
    databases.settle("shop.jobs.Left")
    work("other", "after")
    assert words("other") == ["after"]


def test_a_sqlite_that_was_closed_behind_django_s_back_is_replaced(
    other_database: BaseDatabaseWrapper,
) -> None:
    other_database.connection.close()
    work("other", "after")
    assert words("other") == ["after"]


def test_a_sqlite_whose_file_was_replaced_costs_one_piece_of_work(
    other_database: BaseDatabaseWrapper, tmp_path: Path
) -> None:
    with other_database.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode = DELETE")  # with WAL nothing would fail
    work("other", "lost")
    for path in tmp_path.glob("other.sqlite3*"):
        path.unlink()
    mine = connections.create_connection("other")
    with mine.cursor() as cursor:
        cursor.execute("CREATE TABLE note (word text)")
    mine.close()
    with pytest.raises(OperationalError):
        work("other", "never")
    work("other", "after")
    assert words("other") == ["after"]


def test_a_sqlite_that_is_locked_costs_what_met_the_lock(
    other_database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(other_database.settings_dict["OPTIONS"], "timeout", 0.01)
    other_database.close()
    writer = connections.create_connection("other")
    with writer.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"):
        work("other", "never")
    writer.rollback()
    writer.close()
    work("other", "after")
    assert words("other") == ["after"]


def test_a_sqlite_in_memory_keeps_its_tables_and_no_transaction(
    other_database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_database.close()
    monkeypatch.setitem(other_database.settings_dict, "NAME", ":memory:")
    with other_database.cursor() as cursor:
        cursor.execute("CREATE TABLE note (word text)")
    for leave in (block, sql, autocommit):
        leave("other")
        databases.settle("shop.jobs.Left")
        write("other", "after")
        databases.settle("shop.jobs.Work")
    with other_database.cursor() as cursor:
        cursor.execute("SELECT word FROM note")
        assert cursor.fetchall() == [("after",)] * 3
    monkeypatch.setattr(other_database, "is_in_memory_db", lambda: False)


# What it costs ----------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Our clock stands still."""
    return freeze(monkeypatch)


@pytest.fixture
def asked(other_database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When Django asked the connection whether it is usable."""
    times: list[float] = []

    def is_usable() -> bool:
        times.append(package_clock.monotonic())
        return True

    monkeypatch.setattr(other_database, "is_usable", is_usable)
    return times


def test_a_connection_that_answered_a_moment_ago_is_asked_nothing(
    other_database: BaseDatabaseWrapper, asked: list[float], clock: FrozenClock
) -> None:
    databases.settle("the test")
    for word in ("a", "b", "c"):
        clock.advance(databases.TRUST / 4)
        work("other", word)
    assert asked == []


def test_a_silent_connection_is_asked_once_when_it_is_used(
    other_database: BaseDatabaseWrapper, asked: list[float], clock: FrozenClock
) -> None:
    databases.settle("the test")
    clock.advance(databases.TRUST)
    for _ in range(3):
        databases.prepare("a job that uses no database")
        databases.settle("a job that uses no database")
    assert asked == []
    for word in ("a", "b", "c"):
        work("other", word)
    assert asked == [clock.monotonic]


def test_a_silent_connection_that_gives_no_answer_is_replaced(
    other_database: BaseDatabaseWrapper, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.settle("the test")
    silent = other_database.connection
    monkeypatch.setattr(other_database, "is_usable", lambda: False)
    clock.advance(databases.TRUST)
    work("other", "after")
    assert other_database.connection is not silent
    assert words("other") == ["after"]


def test_who_wants_django_to_ask_each_time_gets_that(
    other_database: BaseDatabaseWrapper,
    asked: list[float],
    clock: FrozenClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(other_database.settings_dict, "CONN_HEALTH_CHECKS", True)
    for word in ("a", "b", "c"):
        work("other", word)
    assert len(asked) == 3


def test_a_thread_without_a_connection_has_nothing_to_look_after(
    other_database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> list[bool]:
        databases.settle("nothing")
        before = databases.in_use()
        connections["other"].ensure_connection()
        meanwhile = databases.in_use()
        databases.close("everything")
        databases.settle("nothing")
        return [before, meanwhile, databases.in_use()]

    assert in_another_thread(look) == [False, True, False]


def test_queries_that_were_logged_for_debugging_are_forgotten_as_django_does_for_requests(
    other_database: BaseDatabaseWrapper,
) -> None:
    other_database.force_debug_cursor = True
    work("other", "a")
    assert len(other_database.queries_log) == 1
    work("other", "b")
    assert len(other_database.queries_log) == 1


# Loops, runs ------------------------------------------------------------------------------


def test_a_tick_begins_and_ends_with_sound_connections(
    other_database: BaseDatabaseWrapper, caplog: pytest.LogCaptureFixture
) -> None:
    other_database.connection.close()

    def tick() -> None:
        with databases.fresh("The loop"):
            block("other")
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        tick()
    with databases.fresh("The loop"):
        write("other", "after")
    assert other_database.connection is not None
    assert words("other") == ["after"]
    assert ["The loop left a transaction open" in text for text in caplog.messages] == [True]


def test_a_thread_that_has_no_more_use_for_a_connection_keeps_none(
    other_database: BaseDatabaseWrapper,
) -> None:
    with databases.fresh("The loop", keep=False):
        write("other", "after")
    assert other_database.connection is None
    assert words("other") == ["after"]


def test_what_broke_is_mended_and_a_transaction_left_alone(
    other_database: BaseDatabaseWrapper,
) -> None:
    with transaction.atomic(using="other"):
        write("other", "kept")
        databases.mend()
    other_database.connection.close()
    databases.mend()
    write("other", "after")
    assert words("other") == ["after", "kept"]


# Forks and pools -----------------------------------------------------------------------------


def test_a_fork_inherits_no_connection(other_database: BaseDatabaseWrapper) -> None:
    write("other", "before")
    databases.close_for_fork()
    assert other_database.connection is None


@pytest.fixture
def pooled(
    real_server: SqlServer, server_database: BaseDatabaseWrapper
) -> Iterator[BaseDatabaseWrapper]:
    """The same database with a pool of Django's, of two connections."""
    pytest.importorskip("psycopg_pool", reason="pip install 'psycopg[pool]'")
    if server_database.vendor != "postgresql":
        pytest.skip("Django has pools for PostgreSQL")
    server_database.close()
    options = {**server_database.settings_dict["OPTIONS"], "pool": {"min_size": 2, "max_size": 2}}
    connections.settings["server"] |= {"OPTIONS": options, "CONN_MAX_AGE": 0}
    databases.ready_pools(1)
    yield server_database
    databases.close_for_fork()


@pytest.mark.sql
def test_pooled_connections_go_back_and_dead_ones_are_not_lent(
    real_server: SqlServer, pooled: BaseDatabaseWrapper
) -> None:
    for word in ("a", "b", "c"):
        work("server", word)
        assert pooled.connection is None
    real_server.cut_connections()
    for word in ("d", "e", "f"):
        work("server", word)
    block("server")
    databases.settle("shop.jobs.Left")
    work("server", "g")
    assert words("server") == list("abcdefg")


@pytest.mark.sql
def test_a_fork_has_a_pool_of_its_own(pooled: BaseDatabaseWrapper) -> None:
    work("server", "parent")
    databases.close_for_fork()
    pid = os.fork()
    if pid == 0:
        try:
            work("server", "child")
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    work("server", "parent again")
    assert words("server") == ["child", "parent", "parent again"]


@pytest.mark.parametrize(
    ("pool", "warns"),
    [(True, True), ({"max_size": 10}, False), ({"min_size": 10}, False), ({}, False)],
    ids=str,
)
def test_a_pool_that_is_too_small_for_the_threads_is_told(
    pool: Any, warns: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg", reason="pip install 'django-jobqueue[databases]'")
    wanted = {
        "ENGINE": sql_settings.ENGINES["postgresql"], "NAME": JOBS, "OPTIONS": {"pool": pool},
    }  # fmt: skip
    made = connections.configure_settings({"default": wanted})["default"]
    monkeypatch.setitem(connections.settings, "pooled", made)
    databases.ready_pools(10)
    assert made["CONN_HEALTH_CHECKS"] is bool(pool)
    assert ["the pool of database 'pooled' has 4" in text for text in caplog.messages] == (
        [True] if warns else []
    )
