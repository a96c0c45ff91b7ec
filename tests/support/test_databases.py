"""The database that the environment asked for is the one that tests and workers are on."""

from __future__ import annotations

import pytest
from django.db import connection

from django_jobqueue.payload import Payload, new_jid
from django_jobqueue.store.store import Store
from tests.conftest import StartRunJobs
from tests.jobsite.jobs import QueryJob
from tests.support import sql_settings
from tests.support.databases import database_of_workers
from tests.support.polling import wait_until
from tests.support.server import RedisServer

__all__ = ["database_of_workers"]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment, which so far asks for a PostgreSQL somewhere."""
    for name in ("PORT", "PASSWORD"):
        monkeypatch.delenv(f"JOBQUEUE_TEST_DATABASE_{name}", raising=False)
    for name, value in {"ENGINE": "postgresql", "HOST": "db.test", "USER": "ann"}.items():
        monkeypatch.setenv(f"JOBQUEUE_TEST_DATABASE_{name}", value)
    return monkeypatch


@pytest.mark.django_db
def test_the_tests_run_on_the_engine_that_was_asked_for() -> None:
    engine = sql_settings.engine_name()
    assert connection.vendor == {"mariadb": "mysql"}.get(engine, engine)
    # MySQL and MariaDB share a backend, and know different locks.
    assert getattr(connection, "mysql_is_mariadb", False) == (engine == "mariadb")


def test_a_server_is_described_as_django_wants_it(environment: pytest.MonkeyPatch) -> None:
    assert sql_settings.server("shop") == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "shop",
        "HOST": "db.test",
        "PORT": "",
        "USER": "ann",
        "PASSWORD": "",
    }


def test_an_engine_that_is_no_server_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JOBQUEUE_TEST_DATABASE_ENGINE", "oracle")
    with pytest.raises(ValueError, match="'oracle', and no server: use one of postgresql, mariadb"):
        sql_settings.server("shop")


def test_without_a_wish_the_engine_is_sqlite(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JOBQUEUE_TEST_DATABASE_ENGINE", "")
    assert sql_settings.engine_name() == "sqlite"


def test_worker_processes_write_where_the_test_reads(
    database_of_workers: dict[str, str],
    redis_server: RedisServer,
    key_prefix: str,
    run_jobs: StartRunJobs,
) -> None:
    store = Store(redis_server.url, prefix=key_prefix)
    fields = {"class": "tests.jobsite.jobs.QueryJob", "args": ["a"], "jid": new_jid()}
    assert fields["class"] == f"{QueryJob.__module__}.{QueryJob.__qualname__}"
    store.queues.push({"default": [Payload(fields).encode()]}, [])
    try:
        journal = run_jobs(env=database_of_workers).journal
        wait_until(lambda: journal.finishes["a"], 30, "the worker to write")
        with connection.cursor() as cursor:
            cursor.execute("SELECT ident FROM written")
            assert cursor.fetchall() in ([("a",)], (("a",),))
    finally:
        store.close()
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS written")
